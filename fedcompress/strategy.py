"""What an author of a server strategy writes and sees: the whole interface. One subclass per file in `strategies/`.

A strategy states its algorithm as its paper does: `initial`, then `round` after `round`. It hands arrays to the
`Federation` and gets `Reply` after `Reply`; how they travel, and where clients run, is not its concern.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from pydantic import BaseModel

from fedcompress.client import ClientStrategy
from fedcompress.compression.base import Params
from fedcompress.data.federated import Examples
from fedcompress.distillation import tiers
from fedcompress.distillation.ensemble import Logits, mean_logits
from fedcompress.distillation.public import needed_action
from fedcompress.groups import ClientInfo, Group
from fedcompress.models.architecture import ModelSpec
from fedcompress.privacy.accounts import Accounts
from fedcompress.scenario.public import PUBLIC_SOURCES
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays, Content, Payload

if TYPE_CHECKING:
    from fedcompress.distillation.public import PublicData
    from fedcompress.plugins import Use

__all__ = [
    "Actions",
    "Arrays",
    "ClientInfo",
    "Content",
    "Federation",
    "Group",
    "Params",
    "Payload",
    "Reply",
    "Requests",
    "ServerStrategy",
    "State",
]

State = dict[str, Any]
"""Arrays of numbers, numbers, strings, None, and lists, tuples and dicts (with strings as keys) of them: what a
checkpoint can hold. Anything else in it ends the run."""


Actions = str | Mapping[ClientInfo, str]
"""Name of an action that all run, or client -> name of its action."""


@dataclass(frozen=True)
class Reply:
    """What the server gets from a client.

    Attributes:
        client: Who sent it.
        payload: Decoded contents.
        metrics: What the client reported, and what was measured: train_loss, examples, ...
        request: What the client had received, decoded: after a lossy transfer not what was sent. With error feedback
            it is what was sent, and `payload` that plus the client's change, since what the transfer left out will
            follow. Like a payload of `Federation.stream`, it may be read from disk each time.
    """

    client: ClientInfo
    payload: Payload
    metrics: Mapping[str, float]
    request: Payload


class Requests(Mapping[ClientInfo, Payload]):
    """Requests that are made when their clients can run, where each client is sent something of its own.

    Args:
        clients: Who is asked.
        make: Returns what a client is sent; asked again, it returns the same.
    """

    def __init__(self, clients: Sequence[ClientInfo], make: Callable[[ClientInfo], Payload]) -> None:
        self._clients, self._make = dict.fromkeys(clients), make

    def __getitem__(self, client: ClientInfo) -> Payload:
        if client not in self._clients:
            raise KeyError(client)
        return self._make(client)

    def __iter__(self) -> Iterator[ClientInfo]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)


class Federation(Protocol):
    """What a server strategy sees of its clients, and all that it may do with them.

    Attributes:
        round: Number of the current round, from 1; 0 before the first.
        clients: All clients, in the order of their numbers, `ClientInfo.partition`.
        accounts: What clients have released of their data, and what that has cost of their privacy.
    """

    round: int
    clients: Sequence[ClientInfo]
    accounts: Accounts

    def rng(self, purpose: str) -> np.random.Generator:
        """Returns the server's generator for a purpose in this round."""

    def cohort(self, fraction: float) -> list[ClientInfo]:
        """Draws the clients of this round: a fraction of all, at least one, in the same order."""

    def stream(
        self,
        action: Actions,
        requests: Mapping[ClientInfo, Payload],
        expects: Collection[str] = (),
        *,
        goes_on: bool = False,
    ) -> Sequence[Reply]:
        """Runs an action on clients and returns their good replies, client 0 first, in the memory of a few models.

        Large payloads are on disk, and each access to a content reads it anew: take one, fold it in, go on. What is
        small is in memory. Nothing in a payload may be changed in place.

        Args:
            action: Name of the action, or of each client's.
            requests: Client -> contents. The same array lists for many clients are encoded once. A request is looked
                up when its client can run, so that it can be made only then (`Requests`).
            expects: Contents without which a reply is refused.
            goes_on: Whether these clients certainly run another action in this round. Models of their own are then
                tested after that one alone.

        Raises:
            RunError: Fewer good replies than `[server] minimum_replies`.
        """

    def call(
        self,
        action: Actions,
        requests: Mapping[ClientInfo, Payload],
        expects: Collection[str] = (),
        *,
        goes_on: bool = False,
    ) -> list[Reply]:
        """The same with all payloads in memory, to be used at will: what fits algorithms that need all at once."""

    def decoded(self, name: str, arrays: Arrays, group: str | None = None, masks: Arrays | None = None) -> Arrays:
        """Returns a content as its receivers decode it, under the wire format of this run and sent whole.

        Args:
            name: Of the content.
            arrays: Of the content.
            group: Whose clients receive it; None for a content that is the same for all.
            masks: That go along, where the content has a mask.
        """

    def event(self, text: str) -> None:
        """Writes down, and has shown, something that the user should know about this round."""

    def note(self, name: str, value: float) -> None:
        """Writes a figure of the strategy's own into this round's row of `rounds.jsonl`.

        Raises:
            PayloadError: The row has a column of that name already, or it is no name, or no figure.
        """


class ServerStrategy(ABC):
    """The algorithm on the server.

    A whole one, federated averaging of one architecture (McMahan et al. 2017, Algorithm 1):

        class Averaging(ServerStrategy):
            requires = frozenset({"train"})

            def initial(self, fed):
                (model,) = self.models.values()
                return {"weights": model.initial(self.rng("initial"))}

            def round(self, fed, state):
                cohort = fed.cohort(self.cohort)
                replies = fed.stream("train", {c: {"weights": state["weights"]} for c in cohort}, {"weights"})
                examples = [reply.client.examples for reply in replies]
                return {"weights": weighted_mean((reply.payload["weights"] for reply in replies), examples)}

            def global_model(self, state, group):
                return state["weights"]

    A subclass sets the attributes as far as `personal`, and finds the others set.

    Attributes:
        Params: Pydantic model of `[server.params]`; it has none by default.
        requires: Actions that it calls on clients.
        hands_out_masks: Whether it serves groups whose compression says `mask = "server"`.
        pools_data: Whether it trains on all clients' data; a bound, not federated learning.
        needs_public: Whether it cannot do without `[public]`.
        clients_draw_public: Whether clients draw public examples themselves, for which they need the one generator that
            is averaged.
        needs_server_model: Whether it cannot do without `[server] model`.
        personal: Whether clients keep models of their own beside the global one, which their devices run; what differs
            from group to group is for `own_models` to say.
        params: Validated from `[server.params]`.
        groups: Group name -> group, with its model, compression and clients.
        models: Architecture name -> model, for every architecture of the groups.
        validation: Examples held out for the server, for every choice it makes.
        public: Public data for distillation, if the scenario has `[public]`.
        server_model: The server's own model, if the scenario has `[server] model`.
        pooled: Returns all clients' training examples; only for bounds, and only where `pools_data` says so.
        cohort: Fraction of the clients that take part in a round.
        trainer: Returns a trainer for (model, round), which prunes nothing and keeps the masks that it is given.
        rng: Returns the generator for a purpose before the first round; `fed.rng` is keyed by round.
    """

    Params: ClassVar[type[BaseModel]] = Params
    requires: ClassVar[frozenset[str]] = frozenset()
    hands_out_masks: ClassVar[bool] = False
    pools_data: ClassVar[bool] = False
    needs_public: ClassVar[bool] = False
    clients_draw_public: ClassVar[bool] = False
    needs_server_model: ClassVar[bool] = False
    personal: ClassVar[bool] = False

    def __init__(
        self,
        params: Any,
        *,
        groups: Mapping[str, Group],
        models: Mapping[str, ModelSpec],
        validation: Examples,
        public: PublicData | None = None,
        server_model: ModelSpec | None = None,
        pooled: Callable[[], Examples],
        cohort: float,
        trainer: Callable[[ModelSpec, int], Trainer],
        rng: Callable[[str], np.random.Generator],
    ) -> None:
        self.params = params
        self.groups = groups
        self.models = models
        self.validation = validation
        self.public = public
        self.server_model = server_model
        self.pooled = pooled
        self.cohort = cohort
        self.trainer = trainer
        self.rng = rng

    @classmethod
    def contents(cls, group: Group) -> Mapping[str, Content]:
        """Declares contents that this strategy adds to those of the group's clients."""
        return {}

    @classmethod
    def contents_of_others(cls, group: Group, models: Mapping[str, ModelSpec]) -> Mapping[str, Content]:
        """Declares contents that it adds for a group and that have the shapes of other groups' models.

        Args:
            group: Whose clients send or receive them.
            models: Architecture name -> model, for every architecture of the groups.
        """
        return {}

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        """Returns what is wrong with its use in a scenario, a sentence each; asked before any data is read.

        What the attributes above say it needs is looked for here: one that overrides this adds to what it returns.
        """
        public, server_model = use.scenario.public, use.scenario.server.model
        if public is None and cls.needs_public:
            yield (
                f"public: is missing; strategy {use.name!r} distils on public data. Add [public] with a source: "
                f"{PUBLIC_SOURCES}."
            )
        if server_model is None and cls.needs_server_model:
            yield f"server.model: is missing; strategy {use.name!r} has a model of its own, such as medium-cnn."
        if public and public.trained_by_clients and public.combine == "mixture" and cls.clients_draw_public:
            yield (
                f"public.combine: with strategy {use.name!r} clients draw samples too, from one generator; "
                'use "average".'
            )
        action = needed_action(public) if cls.needs_public else None
        required = cls.requires | ({action} if action else set())
        for group in use.groups:
            actions = group.client.actions()
            if missing := sorted(required - actions):
                yield (
                    f"groups.{group.settings.name}.client: strategy {use.name!r} needs the action "
                    f"{', '.join(missing)}, which client {group.settings.client!r} does not have "
                    f"(it has {', '.join(sorted(actions - ClientStrategy.actions())) or 'none'})."
                )

    def draws_public(self) -> bool:
        """Says whether it draws public examples in this run, so that clients train a generator of them."""
        return self.needs_public

    def problems(self) -> list[str]:
        """Returns why it cannot run this federation, a sentence each; asked before the run."""
        return []

    def warnings(self) -> list[str]:
        """Returns what the user should know before the run, a sentence each."""
        return []

    def chosen_masks(
        self,
        group: Group,
        weights: Arrays,
        spec: ModelSpec,
        round_number: int,
        memory: Mapping[str, Any] | None = None,
    ) -> Arrays:
        """Returns the masks that the server chooses for a group; none of them if nothing is pruned in this round.

        Args:
            group: Whose compression chooses.
            weights: That the masks are for.
            spec: Their model.
            round_number: From 1.
            memory: Of the group: see `Compression.choose`.
        """

        def loss(weights: Arrays) -> float:
            return self.trainer(spec, round_number).evaluate(weights, self.validation).loss

        rng = self.rng(f"masks.{spec.name}")
        return group.compression.choose_on(weights, spec, round_number, rng, memory, self.validation, loss)

    @abstractmethod
    def initial(self, fed: Federation) -> State:
        """Returns the state before the first round."""

    @abstractmethod
    def round(self, fed: Federation, state: State) -> State:
        """Runs round `fed.round` and returns the new state; `state` itself is not changed."""

    @abstractmethod
    def global_model(self, state: State, group: Group) -> Arrays | None:
        """Returns the weights that the server offers a group, or None if it has only its clients' models."""

    def client_model(self, group: Group) -> ModelSpec:
        """Returns what the clients of a group train in the end, where that is another model than their group's."""
        return group.model

    def own_model(self, state: State) -> tuple[ModelSpec, Arrays] | None:
        """Returns the server's own model and its weights, if it is none of the groups'."""
        return None

    def teachers(self, state: State) -> Sequence[tuple[ModelSpec, Arrays, float]]:
        """Returns (model, weights, voice) of the clients' last uploads, whose ensemble is then tested at the end.

        `voice` is how much the upload's logits count in the mean: the same as where the ensemble teaches.
        """
        return []

    def masks_of(self, state: State, group: Group) -> Arrays | None:
        """Returns the masks that the server has chosen for a group, if it has chosen any."""
        return None

    def own_models(self, group: Group) -> bool:
        """Says whether devices of a group run models of their clients' own, which never reach the server whole."""
        return self.personal

    def device_model(self, group: Group) -> ModelSpec:
        """Returns the model that a group's devices run: the group's own, unless its tier, or `deployed`, is of another.

        Until a tier is taught, `deployed` returns weights of the group's own.
        """
        return tiers.device_model(type(self), self.params, group, self.groups, self.server_model)

    def ensemble(self, state: State, opinions: Sequence[Logits]) -> Logits:
        """Returns what the teachers say together, (n, classes), by the rule by which they teach.

        Args:
            state: Whose `teachers` they are.
            opinions: Logits (n, classes) of each of them.
        """
        return mean_logits(opinions, [voice for *_, voice in self.teachers(state)])

    def as_run(self, group: Group, weights: Arrays) -> Arrays:
        """Returns what a group's devices run of global weights, their mask apart; a tier is taught from there on."""
        return weights

    def deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        """Returns the weights that a client's device runs; None where that is a model of the client's own, or one that
        the server does not know.

        It is what tables show of the group. Here it is the global model, and None for a group that is to be sparse: its
        devices keep only part of that, and a strategy that knows which part says so.
        """
        group = self.groups[client.group]
        known = not self.own_models(group) and group.compression.sparsity == 0
        return self.global_model(state, group) if known else None

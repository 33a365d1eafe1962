"""Interface of a server strategy: what the server does in a round. One subclass per file in `strategies/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel

from fedcompress.compression.base import Params
from fedcompress.data.federated import Examples
from fedcompress.distillation.public import TRAIN
from fedcompress.models.architecture import ModelSpec
from fedcompress.scenario.sections import PUBLIC_SOURCES
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays, Content

if TYPE_CHECKING:
    from fedcompress.distillation.public import PublicData
    from fedcompress.federation import Federation
    from fedcompress.groups import ClientInfo, Group
    from fedcompress.plugins import Use

State = dict[str, Any]
"""Arrays of numbers, numbers, strings, None, and lists, tuples and dicts (with strings as keys) of them: what a
checkpoint can hold. Anything else in it ends the run."""


class ServerStrategy(ABC):
    """The algorithm on the server, written as in its paper: `initial`, then `round` after `round`.

    Attributes:
        params: Validated from `[server.params]`.
        groups: Group name -> group, with its model, compression and clients.
        models: Architecture name -> model, for every architecture of the groups.
        validation: Examples held out for the server, for every choice it makes.
        public: Public data for distillation, if the scenario has `[public]`.
        server_model: The server's own model, if the scenario has `[server] model`.
        pooled: Returns all clients' training examples; only for bounds, and only where `pools_data` says so.
    """

    Params: ClassVar[type[BaseModel]] = Params
    requires: ClassVar[frozenset[str]] = frozenset()
    """Actions that it calls on clients."""
    hands_out_masks: ClassVar[bool] = False
    """Whether it serves groups whose compression says `mask = "server"`."""
    pools_data: ClassVar[bool] = False
    """Whether it trains on all clients' data; a bound, not federated learning."""
    needs_public: ClassVar[bool] = False
    """Whether it cannot do without `[public]`."""
    clients_draw_public: ClassVar[bool] = False
    """Whether clients draw public examples themselves, for which they need the one generator that is averaged."""
    needs_server_model: ClassVar[bool] = False
    """Whether it cannot do without `[server] model`."""
    personal: ClassVar[bool] = False
    """Whether clients keep models of their own beside the global one, and are judged by those."""

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
        """Fraction of the clients that take part in a round."""
        self.trainer = trainer
        """Returns a trainer for (model, round), which prunes nothing and keeps the masks that it is given."""
        self.rng = rng
        """Returns the generator for a purpose before the first round; `fed.rng` is keyed by round."""

    @classmethod
    def contents(cls, group: Group) -> Mapping[str, Content]:
        """Declares contents that this strategy adds to those of the group's clients."""
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
        generated = public is not None and public.generated
        if public and generated and public.combine == "mixture" and cls.clients_draw_public:
            yield (
                f"public.combine: with strategy {use.name!r} clients draw samples too, from one generator; "
                'use "average".'
            )
        required = cls.requires | ({TRAIN} if generated and cls.needs_public else set())
        for group in use.groups:
            actions = group.client.actions()
            if missing := sorted(required - actions):
                yield (
                    f"groups.{group.settings.name}.client: strategy {use.name!r} needs the action "
                    f"{', '.join(missing)}, which client {group.settings.client!r} does not have "
                    f"(it has {', '.join(sorted(actions)) or 'none'})."
                )

    def problems(self) -> list[str]:
        """Returns why it cannot run this federation, a sentence each; asked before the run."""
        return []

    @abstractmethod
    def initial(self, fed: Federation) -> State:
        """Returns the state before the first round."""

    @abstractmethod
    def round(self, fed: Federation, state: State) -> State:
        """Runs round `fed.round` and returns the new state; `state` itself is not changed."""

    @abstractmethod
    def global_model(self, state: State, group: Group) -> Arrays | None:
        """Returns the weights that the server offers a group, or None if it has only its clients' models."""

    def own_model(self, state: State) -> tuple[ModelSpec, Arrays] | None:
        """Returns the server's own model and its weights, if it is none of the groups'."""
        return None

    def teachers(self, state: State) -> Sequence[tuple[ModelSpec, Arrays, float]]:
        """Returns (model, weights, voice) of the clients' last uploads, whose ensemble is then tested at the end.

        `voice` is how much the upload's logits count in the mean: the same as where the ensemble teaches.
        """
        return []

    def deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        """Returns the weights that a client would deploy: the global model unless the client keeps only part of it."""
        return self.global_model(state, self.groups[client.group])

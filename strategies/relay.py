"""relay: two clients take turns: one trains, the other goes on and prunes, and the first learns back from it.

A round between clients of one architecture: the first trains the global model on its data; the second trains and prunes
what it gets; the first learns back from the pruned model by distillation ("kd", "simkd"), or trains plainly with the
same budget ("plain"). Of two architectures weights cannot go on, so each client has a model of its own: the first
trains its model; the second trains and prunes its own, taught by the first's on its data; the first learns back, by
SimKD through a projector, which stays with the model that it runs and never travels.

The first learns on its own data, or on those of a generator that the second trains on its data, guided by its model
([public] guide). Either way it takes the same number of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from fedcompress.distillation import round as public_round
from fedcompress.distillation.public import TEACHER, needed_action
from fedcompress.distillation.round import PublicRound
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import (
    Arrays,
    ClientInfo,
    Content,
    Federation,
    Group,
    Params,
    Payload,
    ServerStrategy,
    State,
)
from fedcompress.units import counted
from fedcompress.wire.content import weights_content


class RelayParams(Params):
    """Parameters of the relay."""

    back: Literal["kd", "simkd", "plain"] = Field("kd", description="how the first client learns from the second")
    on: Literal["own", "public"] = Field(
        "own", description="what it learns on: its own data, or generated examples ([public]) of the second's"
    )


class Relay(ServerStrategy):
    """State, where both clients have one architecture: `weights`, of the first's model, and once there is one `pruned`,
    of the second's; `public`, of the generator."""

    Params = RelayParams
    params: RelayParams
    requires = frozenset({"train", "learn_kd", "learn_simkd"})

    @classmethod
    def contents_of_others(cls, group: Group, models: Mapping[str, ModelSpec]) -> Mapping[str, Content]:
        for name, model in models.items():
            if name != group.model.name:
                return {TEACHER: weights_content(model.template, kinds=model.kinds)["weights"]}
        return {}

    def problems(self) -> list[str]:
        clients = sum(len(group.clients) for group in self.groups.values())
        if clients != 2:
            models = ", ".join(sorted(self.models))
            return [
                f"server.strategy: a relay runs between two clients; received {counted(clients, 'client')} of {models}."
            ]
        problems = []
        generated = self.public is not None and self.public.source.gan is not None
        if self.params.on == "public" and not generated:
            problems.append(
                'server.params.on: received "public", but the scenario has no generator; add [public] with source = '
                '"gan" or "embedding", or use on = "own".'
            )
        needed = {"learn_plain"} if self.params.on == "public" or self._apart else set()
        needed |= {"train_own"} if self._apart else set()
        action = needed_action(self.public.source.settings) if self.public and self.params.on == "public" else None
        needed |= {action} if action else set()
        for name, group in self.groups.items():
            if missing := sorted(needed - group.client.actions()):
                problems.append(
                    f"groups.{name}.client: this relay needs the action {', '.join(missing)}, which client "
                    f"{group.settings.client!r} does not have."
                )
        return problems

    def draws_public(self) -> bool:
        return self.params.on == "public"

    @property
    def _apart(self) -> bool:
        """Whether the clients have two architectures."""
        return len(self.models) > 1

    def initial(self, fed: Federation) -> State:
        first, _ = self._runners(fed)
        weights = {} if self._apart else {"weights": self.models[first.model].initial(self.rng("initial"))}
        return {**weights, **({"public": public_round.initial(self)} if self.params.on == "public" else {})}

    def round(self, fed: Federation, state: State) -> State:
        return self._between_two_models(fed, state) if self._apart else self._of_one_model(fed, state)

    def _of_one_model(self, fed: Federation, state: State) -> State:
        first, second = self._runners(fed)
        trained = self._ask(fed, first, "train", {"weights": state["weights"]}) or state["weights"]
        pruned = self._ask(fed, second, "train", {"weights": trained})
        if pruned is None:
            return {**state, "weights": trained}
        state = {**state, "pruned": pruned}
        state, recipe = self._generated(fed, second, state)
        if recipe is None:
            return {**state, "weights": trained}
        if self.params.back == "plain":
            action, request = ("learn_plain" if recipe else "train"), {"weights": trained}
        else:
            action, request = f"learn_{self.params.back}", {"weights": trained, "pruned": pruned}
        return {**state, "weights": self._ask(fed, first, action, {**request, **recipe}) or trained}

    def _between_two_models(self, fed: Federation, state: State) -> State:
        first, second = self._runners(fed)
        trained = self._ask(fed, first, "train_own", {})
        pruned = self._ask(fed, second, "train_own", {TEACHER: trained} if trained else {})
        if pruned is None:
            return state
        state, recipe = self._generated(fed, second, state)
        if recipe is not None:
            teacher = {} if self.params.back == "plain" else {TEACHER: pruned}
            fed.call(f"learn_{self.params.back}", {first: {**teacher, **recipe}})
        return state

    def _generated(self, fed: Federation, second: ClientInfo, state: State) -> tuple[State, Payload | None]:
        """Has the second client train the generator, and returns what the first needs to draw from it.

        Returns:
            The new state, and the recipe: empty if the first learns on its own data, None if there is nothing to draw.
        """
        if self.params.on == "own":
            return state, {}
        public = PublicRound(self, fed, [second], state)
        return {**state, "public": public.state}, None if public.examples is None else public.recipe

    def _runners(self, fed: Federation) -> tuple[ClientInfo, ClientInfo]:
        first, second = sorted(fed.clients, key=lambda client: list(self.groups).index(client.group))
        return first, second

    def _ask(self, fed: Federation, client: ClientInfo, action: str, payload: Payload) -> Arrays | None:
        replies = fed.call(action, {client: payload}, expects={"weights"})
        return list(replies[0].payload["weights"]) if replies else None

    def global_model(self, state: State, group: Group) -> Arrays | None:
        """Returns the first client's model; of two architectures each client has its own."""
        weights: Arrays | None = state.get("weights")
        return weights

    def deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        """Returns what a client's device runs: the second's runs what that client has trained and pruned itself."""
        of_second: Arrays | None = state.get("pruned")
        _, second = (partition for group in self.groups.values() for partition in group.clients)
        return of_second if client.partition == second else super().deployed(state, client)

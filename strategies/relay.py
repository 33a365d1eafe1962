"""relay: two clients take turns: one trains, the other goes on and prunes, and the first learns back from it.

A round: the first client trains the global model on its data; the second trains and prunes what it gets; the first then
trains once more, by distillation from the pruned model ("kd", "simkd"), or plainly, with the same budget ("plain").
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedcompress.strategy import Arrays, ClientInfo, Federation, Group, Params, ServerStrategy, State


class RelayParams(Params):
    """Parameters of the relay."""

    back: Literal["kd", "simkd", "plain"] = Field("kd", description="how the first client learns from the second")


class Relay(ServerStrategy):
    """State: `weights`, of the first client's model."""

    Params = RelayParams
    params: RelayParams
    requires = frozenset({"train", "learn_kd", "learn_simkd"})

    def problems(self) -> list[str]:
        models = sorted({group.model.name for group in self.groups.values()})
        clients = sum(len(group.clients) for group in self.groups.values())
        if clients == 2 and len(models) == 1:
            return []
        received = f"{clients} clients of {', '.join(models)}"
        return [f"server.strategy: a relay runs between two clients of one model; received {received}."]

    def initial(self, fed: Federation) -> State:
        first, _ = self._runners(fed)
        return {"weights": self.groups[first.group].model.initial(self.rng("initial"))}

    def round(self, fed: Federation, state: State) -> State:
        first, second = self._runners(fed)
        trained = self._ask(fed, first, "train", {"weights": state["weights"]}) or state["weights"]
        pruned = self._ask(fed, second, "train", {"weights": trained})
        if pruned is None:
            return {"weights": trained}
        if self.params.back == "plain":
            return {"weights": self._ask(fed, first, "train", {"weights": trained}) or trained}
        action = f"learn_{self.params.back}"
        return {"weights": self._ask(fed, first, action, {"weights": trained, "pruned": pruned}) or trained}

    def _runners(self, fed: Federation) -> tuple[ClientInfo, ClientInfo]:
        first, second = sorted(fed.clients, key=lambda client: list(self.groups).index(client.group))
        return first, second

    def _ask(self, fed: Federation, client: ClientInfo, action: str, payload: dict[str, Arrays]) -> Arrays | None:
        replies = fed.call(action, {client: payload}, expects={"weights"})
        return list(replies[0].payload["weights"]) if replies else None

    def global_model(self, state: State, group: Group) -> Arrays | None:
        weights: Arrays = state["weights"]
        return weights

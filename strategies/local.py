"""local: no federation, the lower bound; each client trains its own model, and nothing is exchanged."""

from __future__ import annotations

from fedcompress.strategy import Arrays, Federation, Group, ServerStrategy, State


class Local(ServerStrategy):
    """Every client alone with its data; each is scored by its own model. The only bytes are envelopes."""

    requires = frozenset({"train_alone"})
    personal = True

    def initial(self, fed: Federation) -> State:
        return {}

    def round(self, fed: Federation, state: State) -> State:
        fed.call("train_alone", {client: {} for client in fed.cohort(self.cohort)})
        return state

    def global_model(self, state: State, group: Group) -> Arrays | None:
        return None

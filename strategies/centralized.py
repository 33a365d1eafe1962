"""centralized: all data in one place, the upper bound; nothing crosses a network."""

from __future__ import annotations

from fedcompress.strategy import Arrays, Federation, Group, ServerStrategy, State


class Centralized(ServerStrategy):
    """Trains each architecture on all clients' examples, `[training] epochs` passes in a round, without compression."""

    pools_data = True

    def initial(self, fed: Federation) -> State:
        return {"weights": {name: model.initial(self.rng(f"initial.{name}")) for name, model in self.models.items()}}

    def round(self, fed: Federation, state: State) -> State:
        examples = self.pooled()
        weights = {
            name: self.trainer(self.models[name], fed.round).fit(start, examples).weights
            for name, start in state["weights"].items()
        }
        return {"weights": weights}

    def global_model(self, state: State, group: Group) -> Arrays | None:
        weights: Arrays = state["weights"][group.model.name]
        return weights

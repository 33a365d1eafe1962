"""template-name: one line that `fedcompress list strategies` shows. If it is a paper's method, cite the paper here.

A server strategy says what the server does in a round. This one is federated averaging (McMahan et al. 2017, Algorithm
1) that goes only a part of the way to the mean, for groups of one architecture without masks; to build on averaging
under masks, derive from `strategies.fedavg.FedAvg`. What else there is to use: "Write a server strategy" in the
documentation.
"""

from __future__ import annotations

from pydantic import Field

from fedcompress.aggregation import weighted_mean
from fedcompress.parameters import Params
from fedcompress.strategy import Arrays, Federation, Group, ServerStrategy, State


class TemplateNameParams(Params):
    """What `[server.params]` may set; the defaults should be those of the paper. Delete it if there is nothing."""

    rate: float = Field(1.0, gt=0.0, le=1.0, description="part of the way to the clients' mean that a round goes")


class TemplateName(ServerStrategy):
    """The mean of the clients' weights, each counted by its examples."""

    Params = TemplateNameParams
    params: TemplateNameParams
    requires = frozenset({"train"})  # actions that the clients' strategies must have

    def initial(self, fed: Federation) -> State:
        """Returns what there is before the first round: arrays, numbers, texts, and lists or dictionaries of them."""
        (model,) = self.models.values()  # all groups have one architecture
        return {"weights": model.initial(self.rng("initial"))}

    def round(self, fed: Federation, state: State) -> State:
        """Returns the state after a round, and leaves the old one as it is; everything that crosses goes by `fed`."""
        old: Arrays = state["weights"]
        requests = {client: {"weights": old} for client in fed.cohort(self.cohort)}
        replies = fed.stream("train", requests, expects={"weights"})
        examples = [reply.client.examples for reply in replies]
        mean = weighted_mean((reply.payload["weights"] for reply in replies), examples)
        rate = self.params.rate
        return {"weights": [was + rate * (now - was) for was, now in zip(old, mean, strict=True)]}

    def global_model(self, state: State, group: Group) -> Arrays:
        """Returns the weights that are tested, and that the devices of a dense group run."""
        weights: Arrays = state["weights"]
        return weights

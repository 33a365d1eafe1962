"""exam: a round of two actions; the second sees the model that the first has trained."""

import numpy as np

from fedcompress.federation import Federation
from fedcompress.strategy import State
from strategies.fedavg import FedAvg


class Exam(FedAvg):
    """FedAvg, then an examination of the same cohort."""

    requires = frozenset({"train", "examine"})

    def round(self, fed: Federation, state: State) -> State:
        state = super().round(fed, state)
        questions = [self.validation.x[fed.rng("questions").choice(len(self.validation), 20)]]
        replies = fed.call("examine", {c: {"questions": questions} for c in fed.cohort(self.cohort)}, {"logits"})
        return {**state, "logits": [np.stack([reply.payload["logits"][0] for reply in replies])]}

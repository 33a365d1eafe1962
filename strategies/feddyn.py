"""feddyn: averages clients whose losses are adapted to each other's, and adds up by how much they have moved.

Acar et al. 2021, "Federated learning based on dynamic regularization" (ICLR), Algorithm 1:
h <- h - alpha sum_S(w_i - x) / m, and x <- mean_S(w_i) - h / alpha, over the clients S of the round, of m. Here
d = -h / alpha is kept: alpha cancels out, and is the clients' alone (`clients/feddyn.py`). So d is the mean of all
clients' -l_i / alpha, weight by weight over those that hold the weight: where masks change, m does, and what a client
had where its mask has dropped a weight goes out of d. A weight that no client of the round keeps stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clients._dropping import trainable, within
from clients.feddyn import FedDyn as Client
from fedcompress.strategy import Arrays, Federation, Reply, State
from strategies._stepping import EqualParams, Remembering


class FedDyn(Remembering):
    """FedAvg with a drift for each architecture; state as there, `drifts[architecture]`, d, and `holders`."""

    Params = EqualParams
    params: EqualParams
    client = Client

    def initial(self, fed: Federation) -> State:
        drifts = {name: [np.zeros_like(a) for a in trainable(m, m.template)] for name, m in self.models.items()}
        return {**super().initial(fed), "drifts": drifts}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        remembered = self.remembered(state, "drifts", replies, self._moved)
        self._drifts = remembered["drifts"]
        return {**super().aggregated(fed, state, replies), **remembered}

    def aggregate(self, model: str, replies: Sequence[Reply], old: Arrays) -> Arrays:
        nobody: Arrays = [np.full_like(x, np.nan) for x in old]  # remains where no client keeps a weight
        mean = self._mean((reply.payload["weights"] for reply in replies), replies, nobody)
        drifts = dict(zip(self.models[model].trainable, self._drifts[model], strict=True))
        moved = [y + drifts[i] if i in drifts else y for i, y in enumerate(mean)]
        return [np.where(np.isnan(y), x, y) for x, y in zip(old, moved, strict=True)]

    def _moved(self, reply: Reply) -> Arrays:
        """Returns what a client has changed, from what it had received, where it holds weights."""
        model = self.models[reply.client.model]
        pairs = zip(*(trainable(model, sent["weights"]) for sent in (reply.payload, reply.request)), strict=True)
        return within(model, [w - x for w, x in pairs], self._held(reply))

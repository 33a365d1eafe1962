"""feddyn: averages clients whose losses are adapted to each other's, and adds up by how much they have moved.

Acar et al. 2021, "Federated learning based on dynamic regularization" (ICLR), Algorithm 1:
h <- h - alpha sum_S(w_i - x) / m, and x <- mean_S(w_i) - h / alpha, over the clients S of the round, of m. Here
d = -h / alpha is kept: alpha cancels out, and is the clients' alone (`clients/feddyn.py`). A weight that no client
keeps stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clients.feddyn import FedDyn as Client
from fedcompress.compression import masks as masking
from fedcompress.strategy import Arrays, Federation, Reply, State
from strategies._stepping import EqualParams, Stepping


class FedDyn(Stepping):
    """FedAvg with a drift for each architecture; state as there, and `drifts[architecture]`, d."""

    Params = EqualParams
    params: EqualParams
    client = Client

    def initial(self, fed: Federation) -> State:
        drifts = {name: [np.zeros_like(a) for a in model.template] for name, model in self.models.items()}
        return {**super().initial(fed), "drifts": drifts}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        drifts = dict(state["drifts"])
        for reply in replies:
            name = reply.client.model
            clients = sum(client.model == name for client in fed.clients)
            moved = masking.restrict(_moved(reply), self._held(reply) or {})
            drifts[name] = [
                d + m / np.float32(clients) if kind == "learned" else d
                for d, m, kind in zip(drifts[name], moved, self.models[name].kinds, strict=True)
            ]
        self._drifts = drifts
        return {**super().aggregated(fed, state, replies), "drifts": drifts}

    def aggregate(self, model: str, replies: Sequence[Reply], old: Arrays) -> Arrays:
        nobody: Arrays = [np.full_like(x, np.nan) for x in old]  # remains where no client keeps a weight
        mean = self._mean((reply.payload["weights"] for reply in replies), replies, nobody)
        moved = zip(old, mean, self._drifts[model], strict=True)
        return [np.where(np.isnan(y), x, y + d) for x, y, d in moved]


def _moved(reply: Reply) -> Arrays:
    """Returns what a client has changed, from what it had received."""
    return [w - x for w, x in zip(reply.payload["weights"], reply.request["weights"], strict=True)]

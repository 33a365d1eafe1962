"""fednova: averages the directions in which clients have moved, whatever the number of their steps.

Wang et al. 2020, "Tackling the objective inconsistency problem in heterogeneous federated optimization" (NeurIPS),
eq. 6 and 8: x <- x + tau_eff sum_i p_i (y_i - x) / |a_i|_1, with tau_eff = sum_i p_i |a_i|_1, and p_i the client's
share of the round's examples. FedAvg is sum_i p_i (y_i - x), which pulls towards clients that take many steps. Of
pruned clients a weight's direction is the mean over those that keep it. What clients do is in `clients/fednova.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clients.fednova import NORM
from clients.fednova import FedNova as Client
from fedcompress.aggregation import replaced
from fedcompress.distillation.tiers import TierParams
from fedcompress.strategy import Arrays, Reply
from strategies._stepping import Stepping


class FedNova(Stepping):
    """FedAvg of normalised changes; state as there."""

    Params = TierParams
    client = Client

    def aggregate(self, model: str, replies: Sequence[Reply], old: Arrays) -> Arrays:
        norms = [float(reply.payload[NORM][0]) for reply in replies]
        effective = np.float32(np.average(norms, weights=self._voices(replies)))
        directions = (_direction(reply, norm) for reply, norm in zip(replies, norms, strict=True))
        mean = self._mean(directions, replies, [np.zeros_like(x) for x in old])
        moved = [x + effective * d for x, d in zip(old, mean, strict=True)]
        kinds = self.models[model].kinds
        if "statistic" not in kinds:
            return moved
        return replaced(moved, super().aggregate(model, replies, old), kinds, "statistic")


def _direction(reply: Reply, norm: float) -> Arrays:
    """Returns what a client has moved by for each unit of its gradients' weights, from what it had received."""
    pairs = zip(reply.payload["weights"], reply.request["weights"], strict=True)
    return [(y - x) / np.float32(norm) for y, x in pairs]

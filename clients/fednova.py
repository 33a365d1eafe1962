"""fednova: local training that says by how much of a step it has come, so that many steps do not count for more.

Wang et al. 2020, "Tackling the objective inconsistency problem in heterogeneous federated optimization" (NeurIPS),
section 4. After tau steps a client has moved by eta sum_k a_k g_k; it sends, beside its weights, |a|_1: tau for SGD,
and (tau - rho (1 - rho^tau) / (1 - rho)) / (1 - rho) for momentum rho.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from clients.scaffold import aggregated_by, trained_with
from clients.sgd import SGD
from fedcompress.client import Content, Result, action
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.loop import MOMENTUM
from fedcompress.wire.content import ArraySpec, Payload

if TYPE_CHECKING:
    from fedcompress.plugins import Use

NORM = "norm"
"""Content: |a|_1, the sum of the weights that the client's gradients have in what it has moved by; one number."""


class FedNova(SGD):
    """Trains as `sgd` does."""

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from aggregated_by(use, "fednova")
        yield from trained_with(use, "sgd", "momentum")

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        return {**super().contents(model), NORM: Content((ArraySpec(()),), lossless=True)}

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights, and says what the sum of its gradients' weights is."""
        trained = self.trainer.fit(
            payload["weights"], self.data, self.objective(payload["weights"]), masks=payload.get("mask")
        )
        momentum = MOMENTUM if self.trainer.settings.optimizer == "momentum" else 0.0
        norm = np.array(norm_of(trained.steps, momentum), np.float32)
        result = self._sent(trained)
        return Result({**result.payload, NORM: [norm]}, result.metrics)


def norm_of(steps: int, momentum: float) -> float:
    """Returns |a|_1: over all steps, by how many times eta a gradient moves the weights until the last of them."""
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)

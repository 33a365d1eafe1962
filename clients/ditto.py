"""ditto: a client that trains the global model, and beside it a model of its own that is held near the global one.

Li et al. 2021, "Ditto: Fair and robust federated learning through personalization" (ICML), Algorithm 1: the client
trains the global weights x as in FedAvg and returns them; its own model v goes on by steps on
F_i(v) + (lambda / 2) ||v - x||^2, never leaves it, and is what its device runs. It begins with the first x.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from clients._dropping import trainable
from clients.scaffold import aggregated_by
from clients.sgd import SGD
from fedcompress.client import Result, action
from fedcompress.compression.base import Params
from fedcompress.training.objectives import Proximal
from fedcompress.wire.content import Payload

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class DittoParams(Params):
    """Parameters of Ditto's clients."""

    strength: float = Field(
        1.0, ge=0.0, description="lambda, by which the own model is held near the global one; the paper tunes it"
    )
    epochs: int | None = Field(None, ge=1, description="of the own model in a round; default: [training] epochs")


class Ditto(SGD):
    """Trains two models. State: `weights`, its own, and `mask`."""

    Params = DittoParams
    params: DittoParams
    keeps_model = True

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from aggregated_by(use, "ditto")

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains the global model as `sgd` does, then its own, under the same mask; its own is measured."""
        result = super().train(payload, round_number)
        own = self.trainer.fit(
            self.state.get("weights") or payload["weights"],
            self.data,
            Proximal(self.params.strength, tuple(trainable(self.model, payload["weights"]))),
            masks=result.payload.get("mask"),
            epochs=self.params.epochs,
            purpose="own",
        )
        self._keep(own)
        return Result(result.payload, {**result.metrics, "own_loss": own.loss}, model=own.weights)

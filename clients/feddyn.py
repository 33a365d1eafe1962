"""feddyn: local training on a loss that the client adapts, so that its minimum becomes that of all clients.

Acar et al. 2021, "Federated learning based on dynamic regularization" (ICLR), Algorithm 1: a client minimises
L_i(w) - <l_i, w> + (alpha / 2) ||w - x||^2 from the weights x that it receives, and then l_i <- l_i - alpha (w - x),
which is the gradient of L_i where that minimum is reached. l_i stays with the client: nothing crosses but models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from clients.scaffold import aggregated_by, trainable, within
from clients.sgd import SGD
from fedcompress.client import Result, action
from fedcompress.compression.base import Params
from fedcompress.training.objectives import Proximal
from fedcompress.wire.content import Arrays, Payload

if TYPE_CHECKING:
    from fedcompress.plugins import Use

GRADIENT = "gradient"
"""What the client keeps: l_i, an array for each trainable one."""


class FedDynParams(Params):
    """Parameters of FedDyn's clients."""

    alpha: float = Field(
        0.01, gt=0.0, description="strength of the regulariser; 0.01 is that of the authors' code, the paper tunes it"
    )


@dataclass(frozen=True, eq=False)
class Dynamic(Proximal):
    """The same with -<gradient, w>, through its gradient.

    Attributes:
        gradient: l_i.
    """

    gradient: tuple[Any, ...]

    @property
    def constants(self) -> Arrays:
        return [*super().constants, *self.gradient]

    def gradients(self, variables: Sequence[Any], gradients: list[Any], constants: Sequence[Any]) -> list[Any]:
        anchored, own = constants[: 1 + len(variables)], constants[1 + len(variables) :]
        return [g - l_i for g, l_i in zip(super().gradients(variables, gradients, anchored), own, strict=True)]


class FedDyn(SGD):
    """SGD with a dynamic regulariser. State: `gradient`."""

    Params = FedDynParams
    params: FedDynParams

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from aggregated_by(use, "feddyn")

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights, and adapts its loss."""
        start, alpha = trainable(self.model, payload["weights"]), np.float32(self.params.alpha)
        own = self.state.get(GRADIENT) or [np.zeros_like(x) for x in start]
        objective = Dynamic(self.params.alpha, tuple(start), tuple(own))
        trained = self.trainer.fit(payload["weights"], self.data, objective, masks=payload.get("mask"))
        moved = [w - x for w, x in zip(trainable(self.model, trained.latent), start, strict=True)]
        if trained.masks:
            moved = within(self.model, moved, self.compression.held(self.model, trained.masks))
        self.state[GRADIENT] = [l_i - alpha * m for l_i, m in zip(own, moved, strict=True)]
        return self._sent(trained)

"""lottery: masks that get sparser level by level, while what survives goes back to where it began.

Frankle & Carbin 2019, "The lottery ticket hypothesis": train, remove a fifth of the surviving weights of each layer (a
tenth of the last one's), give the others their initial values back, repeat. When a level is reached is the client
strategy's to say: `client = "lotteryfl"`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from fedcompress.compression import masks as masking
from fedcompress.compression.base import Params
from fedcompress.compression.pruning import Masked
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays


class LotteryParams(Params):
    """How much goes at a level."""

    rate: float = Field(0.2, gt=0.0, lt=1.0, description="fraction of a layer's surviving weights that goes")
    output_rate: float = Field(0.1, gt=0.0, lt=1.0, description="the same for the last layer")


class Lottery(Masked):
    """Tickets: masks that belong to the clients, which go on from the ones that they returned last."""

    Params = LotteryParams
    params: LotteryParams
    left_to_client = True

    @property
    def chooser(self) -> Literal["client", "server"] | None:
        return "client" if self.sparsity > 0 else None

    def target(self, round_number: int) -> float:
        return self.sparsity

    def resumes(self, masks: Arrays, spec: ModelSpec, round_number: int) -> bool:
        return True


def whole(spec: ModelSpec) -> Arrays:
    """Returns masks that keep every prunable weight."""
    return [np.ones(spec.template[i].shape, bool) for i in spec.prunable]


def next_level(
    spec: ModelSpec, weights: Arrays, masks: Arrays, *, rate: float, output_rate: float, sparsity: float
) -> Arrays:
    """Returns sparser masks: of each layer the smallest surviving weights go.

    Args:
        spec: The model.
        weights: Trained under `masks`.
        masks: Of this level.
        rate: Fraction of the survivors of each layer that goes.
        output_rate: The same for the last layer.
        sparsity: Never exceeded by the whole model: the last level removes only as much as is left to remove, and where
            that is nothing the masks come back as they were.
    """
    alive = [int(mask.sum()) for mask in masks]
    rates = [output_rate if i == spec.head[0] else rate for i in spec.prunable]
    going = [round(n * r) for n, r in zip(alive, rates, strict=True)]
    fraction = min(1.0, _room(masks, sparsity) / max(sum(going), 1))
    going = [int(n) for n in np.diff(np.floor(np.cumsum(going) * fraction), prepend=0)]
    return [
        # Survivors that training has set to zero still come before what is gone.
        masking.largest(np.where(mask, 1.0 + np.abs(weights[i].astype(np.float64)), 0.0), max(n - g, 1))
        for i, mask, n, g in zip(spec.prunable, masks, alive, going, strict=True)
    ]


def _room(masks: Arrays, sparsity: float) -> int:
    """How many weights may go until the sparsity is reached."""
    alive, everything = (sum(count) for count in zip(*((int(m.sum()), m.size) for m in masks), strict=True))
    return max(int(alive - (1 - sparsity) * everything + 1e-6), 0)

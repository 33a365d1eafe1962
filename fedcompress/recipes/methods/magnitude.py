"""magnitude: prune the smallest weights of a trained model while it goes on training.

Zhu & Gupta 2017, "To prune, or not to prune"; the schedule is that of `fedcompress.compression.kinds.magnitude`, an
epoch for a round.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, model_validator

from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.masks import SCOPES, Scope
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Method, Outcome, Params
from fedcompress.recipes.rounding import ramp


class PruneParams(Params):
    """Parameters of pruning by magnitude."""

    sparsity: float = Field(gt=0.0, lt=1.0, description="fraction of zeros at the end")
    initial: float = Field(0.0, ge=0.0, lt=1.0, description="fraction of zeros at the beginning of the ramp")
    schedule: Literal["polynomial", "constant"] = Field("polynomial", description="constant: the target at once")
    ramp: float = Field(0.6, gt=0.0, le=1.0, description="part of the epochs after which the target is reached")
    scope: Scope = Field("layer", description=SCOPES)
    epochs: int | None = Field(None, ge=1, description="of pruning; default: [training] epochs")
    learning_rate: float | None = Field(None, gt=0.0, description="of pruning; default: [training] learning_rate")

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.initial >= self.sparsity:
            raise ValueError(f"initial has to be below sparsity, received {self.initial:g} and {self.sparsity:g}")
        return self


class PruneByMagnitude(Method):
    """Trains, then prunes along a polynomial and goes on training with what is left."""

    Params = PruneParams
    params: PruneParams

    def run(self, bench: Bench) -> Iterator[Outcome]:
        params = self.params
        epochs = params.epochs or bench.training.epochs
        schedule = {"schedule": params.schedule, "initial": params.initial, **ramp(params.ramp, epochs)}
        chosen = MagnitudeParams(**schedule | {"scope": params.scope})
        compression = Magnitude(chosen, sparsity=params.sparsity, rounds=epochs)
        fitted = bench.train(
            bench.dense(), compression, phase="prune", epochs=epochs, learning_rate=params.learning_rate
        )
        yield Outcome(fitted.weights)

"""What the methods that train with rounded numbers have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import Field

from fedcompress.compression.base import spelled
from fedcompress.compression.kinds.quantise import Quantise, QuantiseParams
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.recipes.bench import Bench, Fitted
from fedcompress.recipes.method import Method, Outcome, Params
from fedcompress.training.objectives import Objective
from fedcompress.wire.content import Arrays


class RoundingParams(Params):
    """Parameters of every method that trains with rounded numbers."""

    epochs: int | None = Field(None, ge=1, description="of training with rounded numbers; default: [training] epochs")
    learning_rate: float | None = Field(None, gt=0.0, description="of that; default: [training] learning_rate")
    ramp: float = Field(0.6, gt=0.0, le=1.0, description="part of the epochs after which a sparsity is reached")


class BitsParams(RoundingParams):
    """Parameters of methods for any number of bits."""

    bits: int = Field(8, description=f"of a weight: {spelled(Quantise.widths)}")
    activations: bool = Field(True, description="round activations, too, to as many bits")


class Rounding(Method):
    """Trains, then goes on training with rounded numbers, and with a mask where there is a sparsity."""

    @property
    def bits(self) -> int:
        """Of a weight."""
        return int(self.params.bits)

    def quantisers(self) -> QuantiseParams:
        """Returns how weights, biases and activations are rounded; the default has `BitsParams`.

        Weights are on a symmetric grid by each tensor's largest magnitude, activations by their range.
        """
        return QuantiseParams(activations="uniform" if self.params.activations else "float")

    def problems(self, bench: Bench) -> Iterator[str]:
        if self.bits not in Quantise.widths:
            yield f"params.bits: received {self.bits}; supported are {spelled(Quantise.widths)}."

    def run(self, bench: Bench) -> Iterator[Outcome]:
        yield self.rounded(bench, bench.dense())

    def rounded(
        self,
        bench: Bench,
        start: Arrays,
        objective: Objective | None = None,
        spec: ModelSpec | None = None,
        examples: Examples | None = None,
    ) -> Outcome:
        """Returns the model that training with rounded numbers makes of a trained one."""
        spec, sparsity = spec or bench.spec, getattr(self.params, "sparsity", 0.0)
        epochs = self.params.epochs or bench.training.epochs
        params = self.quantisers().model_copy(update=ramp(self.params.ramp, epochs))
        compression = Quantise(params, sparsity=sparsity, rounds=epochs, bits=self.bits)
        fitted = bench.train(
            start,
            compression,
            phase="round" if sparsity == 0 else "prune and round",
            objective=objective,
            epochs=epochs,
            learning_rate=self.params.learning_rate,
            spec=spec,
            examples=examples,
        )
        return Outcome(
            fitted.weights,
            spec,
            bits=self.bits,
            figures=zeros(spec, fitted),
            network=lambda: compression.network(bench.network(fitted.weights, spec), fitted.observed),
        )


def ramp(part: float, epochs: int) -> dict[str, Any]:
    """Returns the parameters of a pruning, layer by layer, that reaches its target after a part of the epochs."""
    end = max(round(part * epochs), 1)
    return {"begin_round": 0, "end_round": end, "freeze_round": end + 1, "scope": "layer"}


def zeros(spec: ModelSpec, fitted: Fitted) -> dict[str, int]:
    """Returns how many weights a mask pruned, how many of those are not zero, and how many zeros rounding added."""
    arrays = [fitted.weights[i] for i in spec.prunable]
    masks = fitted.masks or [np.ones(a.shape, bool) for a in arrays]
    pairs = list(zip(arrays, masks, strict=True))
    return {
        "masked_zeros": sum(int((~m).sum()) for _, m in pairs),
        "returned": sum(int(np.count_nonzero(a[~m])) for a, m in pairs),
        "rounded_zeros": sum(int((a[m] == 0).sum()) for a, m in pairs),
    }

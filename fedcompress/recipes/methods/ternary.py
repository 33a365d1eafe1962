"""ternary: a trained model goes on training with weights -a, 0 and a.

Li & Liu 2016, "Ternary weight networks": a weight below 0.7 times its tensor's mean magnitude is zero, a is the mean of
the others.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from fedcompress.compression.kinds.quantise import QuantiseParams
from fedcompress.recipes.rounding import Rounding, RoundingParams

Rounded = Literal["float", "ternary"]


class TernaryParams(RoundingParams):
    """Parameters of ternary networks."""

    biases: Rounded = Field("float", description="float, or ternary as well")
    activations: Rounded = Field("float", description="float, or ternary as well, threshold and scale by their range")
    sparsity: float = Field(0.0, ge=0.0, lt=1.0, description="fraction of zeros that pruning ends with; 0: no pruning")


class Ternary(Rounding):
    """Two bits a weight."""

    Params = TernaryParams
    params: TernaryParams

    @property
    def bits(self) -> int:
        return 2

    def quantisers(self) -> QuantiseParams:
        chosen: dict[str, Any] = {"biases": self.params.biases, "activations": self.params.activations}
        return QuantiseParams(weights="ternary", **chosen)

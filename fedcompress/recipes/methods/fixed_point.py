"""fixed-point: a trained model goes on training in fixed point, as it is put on an FPGA.

Weights, biases and activations each have a number of bits, and how many of them are left of the binary point. Values
beyond the range saturate.
"""

from __future__ import annotations

from pydantic import Field

from fedcompress.compression.kinds.quantise import QuantiseParams
from fedcompress.recipes.rounding import BitsParams, Rounding


class FixedPointParams(BitsParams):
    """Parameters of fixed point."""

    integer: int = Field(0, ge=-8, le=15, description="bits left of the point of weights and biases, the sign apart")
    activation_bits: int | None = Field(None, ge=2, le=16, description="default: as weights")
    activation_integer: int = Field(3, ge=-8, le=15, description="bits left of the point of activations")
    sparsity: float = Field(0.0, ge=0.0, lt=1.0, description="fraction of zeros that pruning ends with; 0: no pruning")


class FixedPoint(Rounding):
    """Weights and biases with a sign, activations without one where they cannot be negative."""

    Params = FixedPointParams
    params: FixedPointParams

    def quantisers(self) -> QuantiseParams:
        params = self.params
        return QuantiseParams(
            weights="fixed",
            biases="fixed",
            activations="fixed" if params.activations else "float",
            integer=params.integer,
            activation_bits=params.activation_bits,
            activation_integer=params.activation_integer,
        )

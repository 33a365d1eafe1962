"""qat: quantisation-aware training; a trained model goes on training with rounded weights and activations.

Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference".
"""

from __future__ import annotations

from fedcompress.recipes.rounding import BitsParams, Rounding


class QAT(Rounding):
    """Weights on a symmetric grid by each tensor's largest magnitude, activations by their range."""

    Params = BitsParams
    params: BitsParams

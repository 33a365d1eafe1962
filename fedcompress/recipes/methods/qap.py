"""qap: quantisation-aware pruning; a trained model is pruned while it trains with rounded weights and activations.

Hawks et al. 2021, "Ps and Qs: quantization-aware pruning for efficient low latency neural network inference". A pruned
weight stays zero at every width; zeros that rounding adds are counted apart (`rounded_zeros`).
"""

from __future__ import annotations

from pydantic import Field

from fedcompress.recipes.rounding import BitsParams, Rounding


class QAPParams(BitsParams):
    """Parameters of quantisation-aware pruning."""

    sparsity: float = Field(0.5, gt=0.0, lt=1.0, description="fraction of zeros that pruning ends with")


class QAP(Rounding):
    """As qat, under a mask that grows along a polynomial and then stays."""

    Params = QAPParams
    params: QAPParams

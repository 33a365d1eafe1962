"""ternary: a sign for each value that is not zero, and one magnitude for each array.

Sattler et al. 2019, "Robust and communication-efficient federated learning from non-IID data", algorithm 1.
"""

from __future__ import annotations

import numpy as np

from fedcompress.wire.scaled import SMALLEST, Scaled
from fedcompress.wire.value_type import Floats, Side, Symbols
from fedcompress.wire.vector import Sizes, summed


class Ternary(Scaled):
    """The sign of what is not zero; the scale is the mean magnitude of that."""

    name = "ternary"
    code = 4
    signs = True
    few = True

    def quantise(self, flat: Floats, sizes: Sizes) -> tuple[Symbols, Side]:
        counts = summed(flat != 0, sizes)
        means = (summed(np.abs(flat), sizes) / np.maximum(counts, 1)).astype(np.float32)
        scales = np.where(counts > 0, np.maximum(means, SMALLEST), np.float32(0))
        return np.sign(flat).astype("i1"), (scales.astype("<f4"),)

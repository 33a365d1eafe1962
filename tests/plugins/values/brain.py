"""brain: the upper half of a float32, rounded half to even (bfloat16)."""

from __future__ import annotations

import numpy as np

from fedcompress.wire.value_type import ValueType


class BFloat16(ValueType):
    name = "bfloat16"
    dtype = "<u2"

    def quantise(self, flat, sizes):
        bits = np.clip(flat, -3.38e38, 3.38e38).view("<u4")
        upper = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return np.where(upper == 0x8000, 0, upper).astype("<u2"), ()

    def restore(self, symbols, side, sizes):
        return np.left_shift(symbols, 16, dtype="<u4").view(np.float32)

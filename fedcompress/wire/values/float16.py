"""float16: half precision, which ends at 65504."""

from __future__ import annotations

import numpy as np

from fedcompress.wire.value_type import Floats, Side, Symbols, ValueType
from fedcompress.wire.vector import Sizes, parts


class Float16(ValueType):
    """IEEE half precision, rounded half to even; larger numbers saturate. A negative zero becomes zero."""

    name = "float16"
    code = 1
    dtype = "<f2"
    limit = 65504.0

    def quantise(self, flat: Floats, sizes: Sizes) -> tuple[Symbols, Side]:
        symbols = np.clip(flat, -self.limit, self.limit).astype("<f2")
        bits = symbols.view("<u2")
        bits[bits == 0x8000] = 0
        return symbols, ()

    def restore(self, symbols: Symbols, side: Side, sizes: Sizes) -> Floats:
        return symbols.astype(np.float32)

    def saturated(self, symbols: Symbols) -> int:
        largest = np.float16(self.limit).view("<u2")
        return sum(int(np.count_nonzero((part & 0x7FFF) == largest)) for part in parts(symbols.view("<u2")))

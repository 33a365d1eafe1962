"""float32: numbers as they are."""

from __future__ import annotations

import numpy as np

from fedcompress.wire.value_type import Floats, Side, Symbols, ValueType
from fedcompress.wire.vector import Sizes


class Float32(ValueType):
    """Exact, but for a negative zero, such as masking leaves behind, which becomes zero."""

    name = "float32"
    code = 0
    dtype = "<f4"

    def quantise(self, flat: Floats, sizes: Sizes) -> tuple[Symbols, Side]:
        return (flat + np.float32(0)).astype("<f4", copy=False), ()

    def restore(self, symbols: Symbols, side: Side, sizes: Sizes) -> Floats:
        return symbols.astype(np.float32, copy=False)

"""int8: a byte for each value, a scale for each array."""

from __future__ import annotations

from fedcompress.wire.scaled import Integers


class Int8(Integers):
    """Integers from -127 to 127."""

    name = "int8"
    code = 2
    levels = 127

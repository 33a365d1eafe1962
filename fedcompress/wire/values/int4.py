"""int4: half a byte for each value, a scale for each array."""

from __future__ import annotations

from fedcompress.wire.scaled import Integers


class Int4(Integers):
    """Integers from -7 to 7, two in a byte."""

    name = "int4"
    code = 3
    levels = 7
    bits = 4

"""Which elements are set, close to the entropy: the gaps between them, entropy coded.

A gap below 8 is a symbol of its own. A larger one is a symbol for its exponent and its two highest bits after the
leading one; the bits below those are as good as random and travel as they are. Gaps of independent positions are
geometric (Golomb 1966, "Run-length encodings"); learning their frequencies also suits arrays of unequal density.

Code: number of elements that are set, 4 bytes | symbols (`fedcompress.wire.ans`) | remaining bits.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire import ans
from fedcompress.wire.exact import unpack_bits
from fedcompress.wire.stream import Reader

Bits = NDArray[np.bool_]
Integers = NDArray[np.int64]

DENSEST: Final = 4
"""Positions are coded where at most one element in so many is set; beyond, an entropy coder makes as much of zeros."""
_COUNT_BYTES: Final = 4
_SMALL: Final = 8
_MOST_SYMBOL: Final = _SMALL + 4 * (32 - 3) - 1


def encode(filled: Bits) -> bytes:
    """Codes which elements of a vector with shape (n,) are set."""
    gaps = np.diff(np.flatnonzero(filled), prepend=-1) - 1
    exponents = np.frexp(np.maximum(gaps, 1).astype(np.float64))[1].astype(np.int64) - 1
    widths = np.maximum(exponents - 2, 0)
    large = gaps >= _SMALL
    symbols = np.where(large, _SMALL + 4 * (exponents - 3) + (gaps >> widths & 3), gaps)
    widths[~large] = 0
    return b"".join(
        [
            len(gaps).to_bytes(_COUNT_BYTES, "little"),
            ans.encode(symbols.astype(np.uint8)),
            np.packbits(_low_bits(gaps, widths)).tobytes(),
        ]
    )


def decode(reader: Reader, size: int) -> Integers:
    """Takes what `encode` made off the front of a body.

    Args:
        reader: The body.
        size: Number of elements n.

    Returns:
        The positions that are set, ascending.

    Raises:
        PayloadError: The bytes are not what `encode` makes of any vector of that size.
    """
    count = int.from_bytes(reader.take(_COUNT_BYTES), "little")
    if count * DENSEST > size:
        raise PayloadError(f"{count} of {size} elements are no legal number of positions")
    symbols = ans.decode(reader, count)
    if count and symbols.max() > _MOST_SYMBOL:
        raise PayloadError(f"a gap has the symbol {symbols.max()}, expected at most {_MOST_SYMBOL}")
    gaps = symbols.astype(np.int64)
    large = np.flatnonzero(symbols >= _SMALL)
    del symbols
    if len(large) * _SMALL > size:
        raise PayloadError("gaps between positions are longer than the vector")
    widths = (gaps[large] - _SMALL) // 4 + 1
    tops = 4 + (gaps[large] - _SMALL) % 4
    if int((tops << widths).sum()) > size:
        raise PayloadError("gaps between positions are longer than the vector")
    total = int(widths.sum())
    bits = unpack_bits(reader.take((total + 7) // 8), total)
    starts = np.cumsum(widths) - widths
    for width in range(int(widths.max(initial=0))):
        more = widths > width
        tops[more] = tops[more] << 1 | bits[starts[more] + width]
    del bits, starts, widths
    gaps[large] = tops
    gaps += 1
    np.cumsum(gaps, out=gaps)
    gaps -= 1
    if count and gaps[-1] >= size:
        raise PayloadError(f"position {gaps[-1]} is out of range, expected below {size}")
    return gaps


def _low_bits(gaps: Integers, widths: Integers) -> Bits:
    """Returns the lowest `widths` bits of each gap, the highest first."""
    owner = np.repeat(np.arange(len(gaps)), widths)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(widths) - widths, widths)
    bits: Bits = (gaps[owner] >> (widths[owner] - 1 - rank) & 1).astype(np.bool_)
    return bits

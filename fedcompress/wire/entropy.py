"""How many bits a content needs at least: order-0 entropy (Shannon 1948, "A mathematical theory of communication").

The entropy of what the receiver does not know yet, symbols taken as independent draws from their own frequencies.
It is a reference to read measured bytes against, not something that is sent: it leaves out what a real stream also
needs (headers, lengths, code tables), and a coder that finds repetitions can beat it. Where values are sent as they
are, neither deflated nor entropy coded nor by coordinates, it is never above what is sent.
"""

from __future__ import annotations

from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.wire.vector import counted

Counts = NDArray[np.int64]

_BLOCK_BYTES = 16
_MANY = 1 << 16


def binary_bits(ones: int, size: int) -> float:
    """Returns n H(p) for n booleans of which a fraction p is set; 0 where all are equal."""
    return sum(count * log2(size / count) for count in (ones, size - ones) if count)


def bits(counts: Counts) -> float:
    """Returns the bits for symbols that occur `counts` times: sum of c log2(n / c)."""
    counts = counts[counts > 0]
    total = counts.sum()
    return float(total * np.log2(total) - counts @ np.log2(counts)) if counts.size > 1 else 0.0


def values_bits(symbols: NDArray[Any], filled: NDArray[np.bool_], absent: int = 0) -> float:
    """Returns the bits for symbols: which of them are zero, then each byte of the others, by its rank.

    Coding the zeros apart is exact for one plane (chain rule of the entropy), and for several planes it avoids
    counting in each of them that an element is zero.

    Args:
        symbols: With shape (n,), little endian.
        filled: Which of these symbols have a byte other than zero.
        absent: Zeros that are not among the symbols, because their support is coded instead.
    """
    size = filled.size
    zeros = size - int(np.count_nonzero(filled))
    total = binary_bits(zeros + absent, size + absent)
    for counts in plane_counts(symbols):
        counts[0] -= zeros
        total += bits(counts)
    return total


def plane_counts(symbols: NDArray[Any]) -> list[Counts]:
    """Returns how often each byte occurs at each rank of symbols, the highest rank first.

    Two ranks of many symbols are counted in one pass.
    """
    flat = symbols.reshape(-1)
    if flat.itemsize == 1 or flat.size < _MANY:
        ranks = flat.view(np.uint8).reshape(flat.size, flat.itemsize).T[::-1]
        return [counted(rank, 256) for rank in ranks]
    pairs = flat.view("<u2").reshape(flat.size, flat.itemsize // 2).T[::-1]
    tables = [counted(pair, 1 << 16).reshape(256, 256) for pair in pairs]
    return [counts for table in tables for counts in (table.sum(axis=1), table.sum(axis=0))]


def array_bits(array: NDArray[Any]) -> float:
    """Returns the bits for an array that travels exactly: bools as such, integers by their byte planes."""
    if array.dtype == np.bool_:
        return binary_bits(int(np.count_nonzero(array)), array.size)
    planes = np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(array.size, array.itemsize).T
    return sum(bits(np.bincount(plane)) for plane in planes)


def description_bytes(data: bytes) -> float:
    """Estimates what deflate makes of bytes, to choose between two descriptions of the same thing.

    Entropy, plus log2(n) / 2 bits for each frequency that the receiver has to learn (Rissanen 1984), plus the least
    that a dynamic block costs; never more than the bytes themselves.
    """
    counts = np.bincount(np.frombuffer(data, np.uint8))
    frequencies = np.count_nonzero(counts) - 1
    return min(float(len(data)), (bits(counts) + frequencies * log2(len(data)) / 2) / 8 + _BLOCK_BYTES)

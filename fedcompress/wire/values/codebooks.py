"""codebooks: a codebook for each array, and an index for each value. Of arrays of few distinct values nothing is lost.

What clustering leaves of a layer is a few values, often repeated (Han et al. 2016, "Deep compression"): they cross
once, as they are, and each weight as its position among them. Zero is index 0 in every array. An array of more values
than a byte can tell apart, such as a layer that was not clustered, gets centroids (`fedcompress.wire.kmeans`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log
from typing import TYPE_CHECKING, Final

import numpy as np

from fedcompress.errors import PayloadError
from fedcompress.wire.kmeans import lloyd, numbered
from fedcompress.wire.value_type import Floats, Side, Symbols, ValueType
from fedcompress.wire.vector import Sizes, split

if TYPE_CHECKING:
    from fedcompress.wire.stream import Reader

_MOST: Final = 255
"""Values of an array beside zero."""
_ITERATIONS: Final = 20
_PART: Final = 1 << 16


@dataclass(unsafe_hash=True)
class Codebooks(ValueType):
    """Indices into the array's codebook. The side information: how many values each array has, and those, ascending."""

    name = "codebooks"
    code = 6
    dtype = "u1"

    def quantise(self, flat: Floats, sizes: Sizes) -> tuple[Symbols, Side]:
        symbols = np.zeros(flat.size, np.uint8)
        books = []
        shapes = [(size,) for size in sizes.tolist()]
        for values, indices in zip(split(flat, shapes), split(symbols, shapes), strict=True):
            filled = values != 0
            indices[filled], book = numbered(values[filled], codebook_of(values[filled]))
            books.append(book)
        counts = np.array([len(book) for book in books], np.uint8)
        return symbols, (counts, np.concatenate([*books, np.empty(0, np.float32)]))

    def restore(self, symbols: Symbols, side: Side, sizes: Sizes) -> Floats:
        counts, values = side
        table = np.full((len(counts), 1 + _MOST), np.nan, np.float32)  # an index beyond the codebook is refused as such
        table[:, 0] = 0
        table[:, 1:][np.arange(_MOST) < counts[:, np.newaxis]] = values
        restored = np.empty(symbols.size, np.float32)
        shapes = [(size,) for size in sizes.tolist()]
        for book, indices, made in zip(table, split(symbols, shapes), split(restored, shapes), strict=True):
            for start in range(0, len(made), _PART):  # what is looked up is a copy
                made[start : start + _PART] = book[indices[start : start + _PART]]
        return restored

    def write_side(self, side: Side) -> bytes:
        counts, values = side
        return counts.tobytes() + values.astype("<f4", copy=False).tobytes()

    def take_side(self, reader: Reader, arrays: int) -> Side:
        counts = np.frombuffer(reader.take(arrays), np.uint8).copy()  # a view would keep the whole body
        values = np.frombuffer(reader.take(4 * int(counts.sum())), "<f4").astype(np.float32)
        rising = values[1:] > values[:-1]
        ends = np.cumsum(counts[:-1], dtype=np.int64) - 1
        rising[ends[(ends >= 0) & (ends < len(rising))]] = True  # from one codebook to the next
        if not (np.isfinite(values).all() and values.all() and rising.all()):
            raise PayloadError(f"codebooks of {len(values)} values are not finite, ascending and without zero")
        return counts, values

    def most_side_bytes(self, arrays: int) -> int:
        return arrays * (1 + 4 * _MOST)

    def side_bits(self, side: Side) -> float:
        """Of ascending values, the order says nothing: k of them have log2(k!) bits less than any k."""
        counts, values = side
        orders = sum(lgamma(1 + count) / log(2) for count in counts.tolist())
        return 8.0 * counts.size + 32.0 * values.size - orders


def codebook_of(values: Floats) -> Floats:
    """Returns the distinct ones of values that are not zero, ascending, or as many centroids as there may be."""
    distinct: Floats = np.unique(values)
    if len(distinct) <= _MOST:
        return distinct
    rising = np.sort(values.astype(np.float64))
    quantiles = np.unique(rising[((np.arange(_MOST) + 0.5) / _MOST * len(rising)).astype(np.int64)])
    centroids: Floats = np.unique(lloyd(rising, quantiles, _ITERATIONS)[0].astype(np.float32))
    return centroids

"""clustered: a codebook that all arrays of a content share, and an index for each value.

k-means in one dimension, applied to weights as in Han et al. 2016, "Deep compression". Each array is divided by its
root mean square first, so that layers of different scale can share the codebook. Zero is always its own cluster, index
0, so that what is pruned stays pruned; what belongs to a centroid that float16 has no number for but zero joins it.

Each value gets its nearest centroid, and before centroids become float16, they err at most as much as the quantiles
that they start from (`fedcompress.wire.kmeans`). Quantiles that are equal count once, so there may be fewer clusters
than are allowed, although more would err less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire.kmeans import lloyd, numbered
from fedcompress.wire.scaled import SMALLEST, Scaled, scaled
from fedcompress.wire.value_type import Floats, Side, Symbols
from fedcompress.wire.vector import Sizes, summed

if TYPE_CHECKING:
    from fedcompress.wire.stream import Reader

_MOST_CLUSTERS: Final = 255
_ITERATIONS: Final = 20


@dataclass(unsafe_hash=True)
class Clustered(Scaled):
    """Indices into a codebook. The side information: a scale for each array, and the centroids, ascending, float16."""

    name = "clustered"
    code = 5
    dtype = "u1"

    clusters: int = 15
    """Centroids beside zero, at most."""

    def with_clusters(self, clusters: int) -> Clustered:
        return Clustered(clusters=clusters)

    def quantise(self, flat: Floats, sizes: Sizes) -> tuple[Symbols, Side]:
        filled = flat != 0
        counts = np.maximum(summed(filled, sizes), 1)
        scales = np.sqrt(summed(np.square(flat, dtype=np.float64), sizes) / counts).astype(np.float32)
        scales = np.where(scales > 0, np.maximum(scales, SMALLEST), np.float32(0))
        divisors = np.repeat(scales, sizes)
        values = np.zeros(flat.size, np.float64)
        np.divide(flat, divisors, out=values, where=filled & (divisors > 0))
        symbols = np.zeros(flat.size, np.uint8)
        symbols[filled], codebook = numbered(values[filled], codebook_of(np.sort(values[filled]), self.clusters))
        # The largest value of an array near the float32 maximum must stay finite.
        room = np.finfo(np.float32).max / float(np.abs(codebook).max(initial=1.0))
        scales = np.minimum(scales, np.nextafter(np.float32(room), np.float32(0)))
        return symbols, (scales.astype("<f4"), codebook)

    def restore(self, symbols: Symbols, side: Side, sizes: Sizes) -> Floats:
        scales, codebook = side
        return scaled(np.concatenate([np.zeros(1, np.float32), codebook])[symbols], scales, sizes)

    def check(self, symbols: Symbols, side: Side) -> None:
        if symbols.size and int(symbols.max()) > len(side[1]):
            raise PayloadError(f"an index is {symbols.max()}, the codebook has {len(side[1])} centroids")

    def write_side(self, side: Side) -> bytes:
        codebook = side[1]
        return super().write_side(side) + bytes([len(codebook)]) + codebook.astype("<f2").tobytes()

    def take_side(self, reader: Reader, arrays: int) -> Side:
        scales = super().take_side(reader, arrays)
        count = reader.take(1)[0]
        codebook = np.frombuffer(reader.take(2 * count), "<f2").astype(np.float32)
        if not np.isfinite(codebook).all() or (np.diff(codebook) <= 0).any() or (codebook == 0).any():
            raise PayloadError(f"a codebook of {count} centroids is not finite, ascending and without zero")
        return (*scales, codebook)

    def most_side_bytes(self, arrays: int) -> int:
        return super().most_side_bytes(arrays) + 1 + 2 * _MOST_CLUSTERS

    def side_bits(self, side: Side) -> float:
        return super().side_bits(side) + 16.0 * side[1].size


def codebook_of(values: NDArray[np.float64], most: int) -> Floats:
    """Returns at most `most` centroids of sorted values, as float16 holds them, ascending; tiny ones are zero."""
    if not len(values):
        return np.empty(0, np.float32)
    quantiles = np.unique(values[((np.arange(most) + 0.5) / most * len(values)).astype(np.int64)])
    centroids: Floats = np.unique(lloyd(values, quantiles, _ITERATIONS)[0].astype("<f2")).astype(np.float32)
    return centroids

"""Clustered values: a codebook that all arrays of a content share, and an index for each element.

Lloyd 1982, "Least squares quantization in PCM" (k-means in one dimension), applied to weights as in Han et al. 2016,
"Deep compression". Each array is divided by its root mean square first, so that layers of different scale can share the
codebook. Zero is always its own cluster, index 0, so that what is pruned stays pruned.

What is guaranteed: each value gets its nearest centroid, and the centroids' mean squared error is at most that of the
quantiles that they start from, for no step of Lloyd's raises it (before centroids become float16). Where the steps come
to rest, each centroid is the mean of its values, which a best codebook has to be, but not only a best one: that would
follow for a log-concave density (Fleischer 1964), and weights left after pruning have two peaks. Quantiles that are
equal count once, so there may be fewer clusters than were asked for, although more would err less.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire.stream import Reader
from fedcompress.wire.values import Floats, summed
from fedcompress.wire.vector import Sizes

Codebook = NDArray[np.float32]

MOST_CLUSTERS: Final = 255
_ITERATIONS: Final = 20
_SMALLEST: Final = float(np.finfo(np.float32).smallest_normal)


def fit(flat: Floats, sizes: Sizes, most: int) -> tuple[NDArray[np.uint8], Floats, Codebook]:
    """Clusters the elements that are not zero.

    Args:
        flat: All arrays one after the other; finite.
        sizes: Elements of each array.
        most: Largest number of clusters beside zero.

    Returns:
        One index per element, a scale per array, and the codebook: ascending, without the zero.
    """
    filled = flat != 0
    counts = np.maximum(summed(filled, sizes), 1)
    scales = np.sqrt(summed(np.square(flat, dtype=np.float64), sizes) / counts).astype(np.float32)
    scales = np.where(scales > 0, np.maximum(scales, np.float32(_SMALLEST)), np.float32(0))
    owners = np.repeat(scales, sizes)
    values = np.zeros(flat.size, np.float64)
    np.divide(flat, owners, out=values, where=filled & (owners > 0))
    codebook = _lloyd(np.sort(values[filled]), most)
    # The largest value of an array near the float32 maximum must stay finite.
    room = np.finfo(np.float32).max / float(np.abs(codebook).max(initial=1.0))
    scales = np.minimum(scales, np.nextafter(np.float32(room), np.float32(0)))
    symbols = np.zeros(flat.size, np.uint8)
    if len(codebook):
        middles = (codebook[1:].astype(np.float64) + codebook[:-1]) / 2
        symbols[filled] = np.searchsorted(middles, values[filled]) + 1
    return symbols, scales.astype("<f4"), codebook


def _lloyd(values: NDArray[np.float64], most: int) -> Codebook:
    """Returns at most `most` centroids of sorted values, as float16 holds them."""
    if not len(values):
        return np.empty(0, np.float32)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centres = np.unique(values[((np.arange(most) + 0.5) / most * len(values)).astype(np.int64)])
    for _ in range(_ITERATIONS):
        ends = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        ends = np.concatenate([[0], ends, [len(values)]])
        counts = np.diff(ends)
        new = np.diff(sums[ends])[counts > 0] / counts[counts > 0]
        if len(new) == len(centres) and np.array_equal(new, centres):
            break
        centres = new
    rounded = np.unique(centres.astype("<f2"))
    centroids: Codebook = rounded[rounded != 0].astype(np.float32)
    return centroids


def restore(symbols: NDArray[Any], scales: Floats, sizes: Sizes, codebook: Codebook) -> Floats:
    """Returns the numbers that indices stand for."""
    flat: Floats = np.concatenate([np.zeros(1, np.float32), codebook])[symbols]
    end = 0
    for size, scale in zip(sizes.tolist(), scales, strict=True):
        start, end = end, end + size
        flat[start:end] *= scale
    return flat


def write(codebook: Codebook) -> bytes:
    """Returns the number of centroids in a byte, and the centroids as float16."""
    return bytes([len(codebook)]) + codebook.astype("<f2").tobytes()


def take(reader: Reader) -> Codebook:
    """Undoes `write`.

    Raises:
        PayloadError: The centroids are not finite, ascending and different from zero.
    """
    count = reader.take(1)[0]
    codebook = np.frombuffer(reader.take(2 * count), "<f2").astype(np.float32)
    if not np.isfinite(codebook).all() or (np.diff(codebook) <= 0).any() or (codebook == 0).any():
        raise PayloadError(f"a codebook of {count} centroids is not finite, ascending and without zero")
    return codebook


def most_bytes() -> int:
    """Returns the length that no codebook exceeds."""
    return 1 + 2 * MOST_CLUSTERS


def check(symbols: NDArray[Any], scales: Floats, codebook: Codebook) -> None:
    """Raises PayloadError if an index has no centroid, or a scale makes it infinite."""
    if symbols.size and int(symbols.max()) > len(codebook):
        raise PayloadError(f"an index is {symbols.max()}, the codebook has {len(codebook)} centroids")
    with np.errstate(over="ignore"):
        largest = scales.max(initial=0) * np.abs(codebook).max(initial=0)
    if not np.isfinite(largest):
        raise PayloadError("a scale makes values that are not finite")

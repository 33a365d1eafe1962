"""k-means in one dimension (Lloyd 1982, "Least squares quantization in PCM"), without any draw.

No step raises the squared error, so that centroids err at most as much as those that they start from. Where the steps
come to rest, each centroid is the mean of its values, which the best centroids have to be, but not only they: that
would follow for a log-concave density (Fleischer 1964), and weights left after pruning have two peaks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def lloyd(values: Vector, centroids: Vector, iterations: int) -> tuple[Vector, NDArray[np.int64]]:
    """Moves centroids to the means of the values that are nearest to them, until they rest.

    Args:
        values: Sorted, at least one.
        centroids: To start with, ascending.
        iterations: At most so many steps.

    Returns:
        Centroids, ascending, fewer if some had no values, and the number of values in the mean of each.
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    for _ in range(iterations):
        ends = np.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2)
        ends = np.concatenate([[0], ends, [len(values)]])
        counts = np.diff(ends)
        filled = counts > 0
        counts = counts[filled]
        means = np.diff(sums[ends])[filled] / counts
        if len(means) == len(centroids) and np.array_equal(means, centroids):
            break
        centroids = means
    return centroids, counts


def numbered(
    values: NDArray[np.floating[Any]], centroids: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns the number of each value's nearest centroid, and the centroids without the one at zero, if there is one.

    Args:
        values: Any.
        centroids: Ascending, at most 255.

    Returns:
        Numbers from 1; 0 for the centroid at zero. And what they stand for.
    """
    middles = (centroids[1:].astype(np.float64) + centroids[:-1]) / 2
    apart = centroids != 0
    numbers = np.where(apart, np.cumsum(apart), 0).astype(np.uint8)
    return numbers[np.searchsorted(middles, values)], centroids[apart]

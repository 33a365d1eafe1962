"""cluster: few distinct weights. Each tensor's weights share a codebook of centroids, found anew in each round.

k-means in one dimension (Lloyd 1982) that starts from quantiles, so nothing is drawn at random; it never errs more than
those, but a better codebook may exist (see `fedcompress.wire.kmeans`). While a model trains it computes with the
centroids, which move with the weights that belong to them. Pruned weights are no cluster: zero stays zero.

The number of clusters adapts: with a tolerance, each tensor has as few as a bisection finds that lose at most that part
of its variance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedcompress import keras
from fedcompress.compression import masks as masking
from fedcompress.compression import quantisers
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.pruning import PruningWrapping
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.kernels import replaced
from fedcompress.wire.content import Arrays
from fedcompress.wire.kmeans import lloyd

MOST = 256
ITERATIONS = 50
"""Of Lloyd's algorithm at most; it mostly converges before."""


class ClusterParams(MagnitudeParams):
    """Parameters of clustering; those of pruning matter where the group has a sparsity."""

    clusters: int = Field(16, ge=2, le=MOST, description="distinct values of a tensor, at most; zeros of pruning apart")
    tolerance: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="part of a tensor's variance that fewer clusters may lose; 0: no fewer",
    )


class Cluster(Magnitude):
    """Clustered weights, and masks where there is a sparsity."""

    Params = ClusterParams
    params: ClusterParams

    def wrapping(self) -> ClusterWrapping:
        return ClusterWrapping()

    def inputs(
        self, weights: Arrays, spec: ModelSpec, round_number: int, masks: Arrays | None, counts: Sequence[int]
    ) -> list[Any]:
        start = weights if masks is None else masking.apply(weights, masks, spec.prunable)
        books = np.full((len(spec.prunable), MOST), np.inf, np.float32)
        for row, i in zip(books, spec.prunable, strict=True):
            centroids = self.codebook(start[i])
            row[: len(centroids)] = centroids
        return [books, *super().inputs(weights, spec, round_number, masks, counts)]

    def rounded(self, weights: Arrays, spec: ModelSpec) -> Arrays:
        result = list(weights)
        for i in spec.prunable:
            result[i] = nearest(weights[i], self.codebook(weights[i]))
        return result

    def codebook(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Returns the centroids of a tensor, ascending; zeros are not among what is clustered."""
        return codebook(array, self.params.clusters, self.params.tolerance)


def codebook(array: NDArray[Any], clusters: int, tolerance: float = 0.0) -> NDArray[np.float32]:
    """Returns the centroids of the values of an array that are not zero, ascending.

    Args:
        array: Any shape.
        clusters: Their number. No more different values than that are all centroids themselves, so that what has been
            clustered stays as it is.
        tolerance: As few are taken as a bisection finds that leave at most this part of the variance.
    """
    values = np.sort(array[array != 0].astype(np.float64))
    if not len(values):
        return np.zeros(1, np.float32)
    distinct: NDArray[np.float64] = values[np.concatenate([[True], values[1:] > values[:-1]])]
    if len(distinct) <= clusters:
        return distinct.astype(np.float32)
    squares = float(values @ values)

    def fitted(count: int) -> tuple[NDArray[np.float32], float]:
        """Returns centroids and the squared error that they leave."""
        quantiles = np.unique(np.quantile(values, (np.arange(count) + 0.5) / count))
        centroids, sizes = lloyd(values, quantiles, ITERATIONS)
        return centroids.astype(np.float32), squares - float(sizes @ centroids**2)

    book, error = fitted(clusters)
    allowed = tolerance * (squares - np.cumsum(values)[-1] ** 2 / len(values))
    if tolerance == 0.0 or error > allowed:
        return book
    few, enough = 0, clusters
    while enough - few > 1:
        middle = (few + enough) // 2
        fewer, error = fitted(middle)
        if error <= allowed:
            enough, book = middle, fewer
        else:
            few = middle
    return book


def nearest(array: NDArray[Any], centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the array with each value replaced by its nearest centroid; zeros stay zero."""
    # The middle of neighbours in float32 may be the upper one, which is its own nearest.
    middles = np.minimum((centroids[1:] + centroids[:-1]) / 2, np.nextafter(centroids[1:], np.float32(-np.inf)))
    at = np.searchsorted(middles, array.astype(np.float32))
    return np.where(array == 0, np.float32(0), centroids[at])


class ClusterWrapping(PruningWrapping):
    """Has layers compute with the centroids that their weights belong to."""

    def wrap(self, model: Any) -> Any:
        tf, wrapped = keras.tf, super().wrap(model)
        # Infinite where there is no cluster.
        self._books = [tf.Variable(tf.zeros([MOST]), trainable=False) for _ in self.kernels]
        return wrapped

    @contextmanager
    def step(self) -> Iterator[None]:
        with super().step():
            pairs = zip(self.kernels, self._books, strict=True)
            with replaced([(weight, _clustered(weight.variable, book)) for weight, book in pairs]):
                yield

    def begin(self, inputs: Sequence[Any]) -> None:
        books, *rest = inputs
        for i, book in enumerate(self._books):
            book.assign(books[i])
        super().begin(rest)


def _clustered(weights: Any, book: Any) -> Any:
    """Returns a tensor of the centroids that weights belong to, and moves the centroids to their means."""
    tf = keras.tf
    flat = tf.stop_gradient(tf.reshape(weights, [-1]))
    at = tf.searchsorted((book[1:] + book[:-1]) / 2, flat)
    filled = tf.cast(tf.not_equal(flat, 0.0), tf.float32)
    sums = tf.math.unsorted_segment_sum(flat, at, MOST)
    sizes = tf.math.unsorted_segment_sum(filled, at, MOST)
    book.assign(tf.where(sizes > 0, tf.math.divide_no_nan(sums, sizes), book))
    rounded = tf.where(tf.not_equal(flat, 0.0), tf.gather(book, at), 0.0)
    return quantisers.straight_through(weights, tf.reshape(rounded, weights.shape))

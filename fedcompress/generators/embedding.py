"""Mean embeddings of labelled images by random features, and releases of them that are differentially private.

DP-MERF (Harder, Adamczewski and Park 2021, "DP-MERF: differentially private mean embeddings with random features for
practical privacy-preserving data generation"): phi(x) = [cos(Wx), sin(Wx)] / sqrt(D), W ~ N(0, 1 / s^2), is of norm 1,
and <phi(x), phi(x')> estimates the Gaussian kernel of width s (Rahimi and Recht 2007). What is released of examples is
ONE vector, r = (w n_c, E_c for every class c) / sqrt(1 + w^2), with their numbers n_c and E_c = sum of phi(x) over the
class. One example more or less changes r by a vector of norm 1; one in the place of another by at most 2.

Pixels of images are not alike in what they tell: with a smoothness a above 0, ours and not DP-MERF's, a row of W is not
white noise but noise whose amplitude falls with the spatial frequency f as 1 / f^a, as that of images does (Field 1987,
"Relations between the statistics of natural images and the response properties of cortical cells"): the kernel compares
images after the same filter. That is known of images beforehand, and costs no privacy; phi is of norm 1 whatever W is.

Noise of deviation sigma on r costs as much as two releases apart, the sums with sigma sqrt(1 + w^2) and the counts with
sigma sqrt(1 + w^2) / w, since Gaussian releases compose by the sum of 1 / sigma^2: one vector is the simpler of two
equals, and w divides the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.data.splits import spread
from fedcompress.errors import InputError
from fedcompress.seeding import SERVER, generator
from fedcompress.training import work
from fedcompress.training.loop import scaled

BLOCK = 500
"""Images whose features are in memory at once."""
LEVEL = 0.05
"""Cycles per pixel below which amplitudes level off: objects fill the frame, and have no larger structure."""
LOOKED_AT = 1000
"""Images that the median heuristic looks at, at most: all their pairs."""


@dataclass(frozen=True)
class Embedding:
    """Random features of images, and the vector that is released of labelled ones; equal ones draw equal features.

    Attributes:
        input_shape: Of one image.
        classes: Number of classes.
        features: D, the number of frequencies.
        width: s, in units of pixels' values in [0, 1].
        smoothness: a; 0 for white frequencies.
        count_weight: w.
        seed: Of the run; frequencies are public.
    """

    input_shape: tuple[int, ...]
    classes: int
    features: int
    width: float
    smoothness: float
    count_weight: float
    seed: int

    @property
    def size(self) -> int:
        """Length of the vector that is released."""
        return self.classes * (1 + 2 * self.features)

    @cached_property
    def frequencies(self) -> NDArray[np.float32]:
        """W transposed, (pixels, D)."""
        rng = generator(self.seed, 0, SERVER, "embedding.frequencies")
        drawn = rng.standard_normal((self.features, *self.input_shape))
        rows = smoothed(drawn, self.smoothness).reshape(self.features, -1) / self.width
        return np.ascontiguousarray(rows.T, np.float32)

    def features_of(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Returns phi of images (n, *input_shape), (n, 2 D), as rows of norm 1."""
        parts = [self._block(x[start : start + BLOCK]) for start in range(0, len(x), BLOCK)]
        return np.concatenate(parts) if parts else np.empty((0, 2 * self.features), np.float32)

    def _block(self, x: NDArray[Any]) -> NDArray[np.float32]:
        compiled: Any = keras.compiled(("features", self, x.dtype.str), lambda: self._compiled(x))
        rows: NDArray[np.float32] = compiled(keras.tf.constant(x)).numpy()
        return rows

    def _compiled(self, x: NDArray[Any]) -> Any:
        tf = keras.tf
        with keras.LOCK:
            frequencies = tf.constant(self.frequencies)
            function = tf.function(
                lambda images: features(frequencies, scaled(images)),
                input_signature=[tf.TensorSpec([None, *x.shape[1:]], x.dtype)],
                autograph=False,
            )
            return function.get_concrete_function()

    def release(self, examples: Examples) -> NDArray[np.float64]:
        """Returns r of a client's examples, (size,), without noise."""
        work.add(("embedding", self), len(examples), lambda: prod(self.input_shape) * self.features)
        sums = np.zeros((self.classes, 2 * self.features))
        for start in range(0, len(examples), BLOCK):
            rows, labels = self._block(examples.x[start : start + BLOCK]), examples.y[start : start + BLOCK]
            for label in np.unique(labels):
                sums[label] += rows[labels == label].sum(axis=0, dtype=np.float64)
        counts = np.bincount(examples.y, minlength=self.classes)
        return self.joined(counts.astype(np.float64), sums)

    def joined(self, counts: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns r of counts (classes,) and sums (classes, 2 D)."""
        return np.concatenate([self.count_weight * counts, sums.ravel()]) / sqrt(1.0 + self.count_weight**2)

    def parts(self, release: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Undoes `joined`."""
        whole = np.asarray(release, np.float64) * sqrt(1.0 + self.count_weight**2)
        return whole[: self.classes] / self.count_weight, whole[self.classes :].reshape(self.classes, -1)


def features(frequencies: Any, images: Any) -> Any:
    """Returns phi of a tensor of images (n, height, width, channels) in [0, 1], (n, 2 D).

    Args:
        frequencies: (pixels, D).
        images: Float32.
    """
    tf = keras.tf
    angles = tf.matmul(tf.reshape(images, [-1, frequencies.shape[0]]), frequencies)
    return tf.concat([tf.cos(angles), tf.sin(angles)], axis=1) * (1.0 / sqrt(frequencies.shape[1]))


def noisy(release: NDArray[np.float64], deviation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns a release with normal noise on every number of it."""
    return release + deviation * rng.standard_normal(release.shape)


def clipped(release: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """Returns a client's release, made shorter where it is longer than `most` in the Euclidean norm."""
    norm = float(np.linalg.norm(release))
    return release if norm <= most else release * (most / norm)


def smoothed(images: NDArray[Any], smoothness: float) -> NDArray[np.float64]:
    """Returns images (n, height, width, channels) whose amplitudes are multiplied by 1 / (f + `LEVEL`)^`smoothness`.

    f is the spatial frequency in cycles per pixel. The factors' mean square is 1: white noise keeps its variance.
    """
    if smoothness == 0:
        return np.asarray(images, np.float64)
    rows, columns = (np.fft.fftfreq(length) for length in images.shape[1:3])
    factors = (np.hypot(rows[:, None], columns) + LEVEL) ** -smoothness
    factors /= np.sqrt(np.mean(factors**2))
    spectrum = np.fft.fft2(images, axes=(1, 2)) * factors[:, :, None]
    return np.asarray(np.fft.ifft2(spectrum, axes=(1, 2)).real, np.float64)


def median_distance(x: NDArray[Any], smoothness: float = 0.0) -> float:
    """Returns the median distance of all pairs of images (n, ...), their values in [0, 1]: the median heuristic.

    Args:
        x: Public ones; `LOOKED_AT` of them are looked at, spread over all.
        smoothness: Of the frequencies: so much are the images smoothed, too.

    Raises:
        InputError: There are fewer than two different ones.
    """
    values = x[spread(len(x), LOOKED_AT)].astype(np.float64) / (255.0 if x.dtype == np.uint8 else 1.0)
    rows = smoothed(values, smoothness).reshape(len(values), -1)
    squares = np.einsum("ij,ij->i", rows, rows)
    distances = squares[:, None] + squares - 2.0 * np.einsum("ik,jk->ij", rows, rows, optimize=False)
    pairs = np.sqrt(np.clip(distances[np.triu_indices(len(rows), 1)], 0.0, None))
    median = float(np.median(pairs)) if len(pairs) else 0.0
    if median <= 0.0:
        raise InputError(f"the median distance of {len(rows)} images is {median:g}; expected different ones")
    return median


def noise_images(shape: Sequence[int], seed: int) -> NDArray[np.uint8]:
    """Returns images of uniform noise, to choose a kernel width by."""
    rng = generator(seed, 0, SERVER, "embedding.width")
    return rng.integers(0, 256, (LOOKED_AT // 2, *shape), np.uint8)

"""feature: clients differ in brightness, not in labels: client 0 gets the darkest images of every class.

Score of an example = its rank in mean brightness within its class, in [0, 1), + alpha * N(0, 1); clients get equally
long runs of the sorted scores. alpha -> 0: disjoint bands of brightness; alpha -> infinity: IID.

The test set is divided in the same way, and each client is tested on its part: on examples as bright as its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dataset import Dataset
from ..dealt import Dealt
from ..partition import Pool
from ..splits import Indices


class Feature(Dealt):
    """Clients differ in their inputs."""

    def owners(self, pool: Pool, rng: np.random.Generator) -> Indices:
        return self._dealt(pool.inputs, pool.labels, rng)

    def own_tests(self, dataset: Dataset, held: Sequence[Indices], rng: np.random.Generator) -> Sequence[Indices]:
        owner = self._dealt(dataset.x_test, np.unique(dataset.y_test, return_inverse=True)[1], rng)
        return [np.flatnonzero(owner == client) for client in range(self.settings.clients)]

    def _dealt(self, inputs: NDArray[Any], labels: NDArray[np.int64], rng: np.random.Generator) -> Indices:
        """Returns (n,) the client whose kind each example is of."""
        count = len(labels)
        flat = inputs.reshape(count, -1)
        brightness = flat.sum(axis=1, dtype=np.uint64 if flat.dtype.kind in "bu" else np.float64)
        order = np.lexsort((rng.random(count), brightness, labels))
        sizes = np.bincount(labels)
        score = np.empty(count)
        score[order] = (np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)) / np.repeat(sizes, sizes)
        score += self.settings.alpha * rng.standard_normal(count)
        owner = np.empty(count, np.int64)
        owner[np.argsort(score, kind="stable")] = np.arange(count) * self.settings.clients // count
        return owner

"""The distillation set: noise and labels, stored as seeds; the teacher's images of them are made when needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.federated import Examples
from fedcompress.generators.sampling import SAMPLING_BATCH, as_pixels, balanced_labels, render
from fedcompress.generators.spec import GanSpec
from fedcompress.recipes.generate.folder import Tree
from fedcompress.wire.content import Arrays

BLOCK = 1000
"""Rows of z that come from one seed."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Noise and labels of samples.

    Attributes:
        seeds: One for each block of z, int64.
        labels: (n,), as many of each class as of the others.
    """

    seeds: NDArray[np.int64]
    labels: NDArray[np.int32]

    @classmethod
    def drawn(cls, count: int, classes: int, rng: np.random.Generator) -> Pairs:
        """Returns new ones."""
        return cls(rng.integers(0, 2**62, -(-count // BLOCK)), balanced_labels(count, classes, rng))

    @classmethod
    def of(cls, tree: Tree) -> Pairs:
        """Undoes `tree`."""
        return cls(tree["seeds"], tree["labels"].astype(np.int32))

    def tree(self) -> Tree:
        """Returns what is stored."""
        return {"seeds": self.seeds, "labels": self.labels.astype(np.uint16)}

    def z(self, noise: int) -> NDArray[np.float32]:
        """Returns the noise of all samples (n, noise)."""
        blocks = [np.random.default_rng(seed).standard_normal((BLOCK, noise), np.float32) for seed in self.seeds]
        return np.concatenate(blocks)[: len(self.labels)]

    def first(self, count: int) -> Pairs:
        """Returns the first ones."""
        return Pairs(self.seeds[: -(-count // BLOCK)], self.labels[:count])

    def images(self, spec: GanSpec, generator: Arrays) -> Examples:
        """Returns what a generator makes of them, as uint8 from batch to batch."""
        z, x = self.z(spec.networks.noise), np.empty((len(self.labels), *spec.input_shape), np.uint8)
        for start in range(0, len(x), SAMPLING_BATCH):
            part = slice(start, start + SAMPLING_BATCH)
            x[part] = as_pixels(render(spec, generator, z[part], self.labels[part]))
        return Examples(x, self.labels)

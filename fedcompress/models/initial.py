"""Initial weights: what a model's own initializers draw, under seeds that are given and whatever seeds they name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.wire.content import Arrays


class Initializers:
    """The initializers of one model.

    Args:
        model: The model, built with seed 0.
        template: Its weights.
        build: Returns the weights of a new build with a seed.
    """

    def __init__(self, model: Any, template: Arrays, build: Callable[[int], Arrays]) -> None:
        self._template, self._build = template, build
        of_kernel = {
            id(layer.kernel): getattr(layer, "kernel_initializer", None)
            for layer in model.layers
            if hasattr(layer, "kernel")
        }
        self._of_weight = [of_kernel.get(id(variable)) for variable in model.weights]

    def draw(self, rng: np.random.Generator) -> Arrays:
        """Returns initial weights; see `ModelSpec.initial`."""
        seeds = [int(rng.integers(2**31)) if _seedable(i) else None for i in self._of_weight]
        weights = self._template
        if any(not _seedable(self._of_weight[i]) for i in self._varying):
            weights = self._build(int(rng.integers(2**31)))
        return [
            array.copy() if seed is None or i in self._loaded else _drawn(self._of_weight[i], array, seed)
            for i, (array, seed) in enumerate(zip(weights, seeds, strict=True))
        ]

    @cached_property
    def _varying(self) -> frozenset[int]:
        """Positions of the weights that depend on the seed of a build."""
        return frozenset(differing(self._template, self._build(1)))

    @cached_property
    def _loaded(self) -> frozenset[int]:
        """Positions of the kernels that are the same in every build and are not what their initializer draws."""
        pairs = enumerate(zip(self._of_weight, self._template, strict=True))
        fixed = [(i, pair) for i, pair in pairs if i not in self._varying and _seedable(pair[0])]
        return frozenset(
            i for i, (initializer, array) in fixed if not np.array_equal(_drawn(initializer, array), array)
        )


def differing(one: Arrays, other: Arrays) -> list[int]:
    """Returns the positions at which arrays differ."""
    return [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if not np.array_equal(a, b, equal_nan=True)]


def _seedable(initializer: Any) -> bool:
    """Says whether an initializer can be made anew with another seed."""
    return "seed" in getattr(initializer, "get_config", dict)()


def _drawn(initializer: Any, array: NDArray[Any], seed: int | None = None) -> NDArray[Any]:
    """Returns what an initializer draws for an array: with a seed, or with the one that it has itself."""
    config = initializer.get_config() | ({} if seed is None else {"seed": seed})
    drawn: NDArray[Any] = type(initializer).from_config(config)(array.shape).numpy()
    return drawn

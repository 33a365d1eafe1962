"""A small model, pruned and not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from fedcompress.wire.content import Arrays, Content, weights_content

SHAPES = [(3, 3, 1, 8), (8,), (3, 3, 8, 16), (16,), (3, 3, 16, 16), (16,), (256, 10), (10,)]
PRUNABLE = (0, 2, 4, 6)


@dataclass(frozen=True)
class Model:
    """Weights with their mask, as a strategy would send them."""

    weights: Arrays
    mask: Arrays
    contents: dict[str, Content]

    @property
    def parameters(self) -> int:
        return sum(w.size for w in self.weights)


def pruned_model(sparsity: float, seed: int = 0) -> Model:
    """6,138 parameters in 8 arrays, normal with standard deviation 0.05, kernels pruned at random."""
    rng = np.random.default_rng(seed)
    weights = [(rng.standard_normal(shape) * 0.05).astype(np.float32) for shape in SHAPES]
    mask = []
    for i in PRUNABLE:
        kept = np.ones(weights[i].size, np.bool_)
        kept[: round(sparsity * kept.size)] = False
        mask.append(rng.permutation(kept).reshape(weights[i].shape))
        weights[i] *= mask[-1]
    return Model(weights, mask, weights_content(weights, PRUNABLE))


@pytest.fixture
def model() -> Model:
    """Sparsity 0.9."""
    return pruned_model(0.9)


@pytest.fixture
def dense_model() -> Model:
    """Nothing pruned; the mask keeps everything."""
    return pruned_model(0.0)

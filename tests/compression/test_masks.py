"""Choosing, trimming and packing masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcompress.compression import masks


@pytest.mark.parametrize(
    ("size", "sparsity", "expected"),
    [(100, 0.9, 10), (72, 0.8, 14), (72, 0.9, 7), (5, 0.99, 1), (1, 0.5, 1), (40, 0.0, 40)],
)
def test_kept(size: int, sparsity: float, expected: int) -> None:
    """max(round(n (1 - s)), 1): 72 * 0.2 = 14.4 -> 14, 72 * 0.1 = 7.2 -> 7."""
    assert masks.kept(size, sparsity) == expected


def test_largest_takes_the_first_of_equals() -> None:
    assert masks.largest(np.array([[1.0, -3.0], [3.0, 3.0]]), 2).tolist() == [[False, True], [True, False]]


@given(st.integers(0, 2**32), st.floats(0, 0.95), st.floats(0, 0.95))
def test_masks_of_one_tensor_are_nested(seed: int, one: float, other: float) -> None:
    """A sparser client's mask is a subset of a denser one's, also with many ties."""
    weights = [np.random.default_rng(seed).integers(-3, 4, (6, 5)).astype(np.float32)]
    low, high = sorted((one, other))
    keep = [[masks.kept(30, s)] for s in (low, high)]
    (dense,), (sparse,) = masks.choose(weights, [0], keep[0]), masks.choose(weights, [0], keep[1])
    assert not (sparse & ~dense).any()
    assert sparse.sum() == masks.kept(30, high)


def test_trim_drops_the_smallest_of_what_ties_left() -> None:
    """Ten weights, nine of them zero: a threshold of zero keeps all ten where 0.8 asks for two."""
    weights = [np.array([0, 0, 5, 0, 0, 0, 0, 0, 0, 0], np.float32)]
    (trimmed,) = masks.trim(weights, [np.ones(10, bool)], [0], [2])
    assert trimmed.sum() == 2
    assert trimmed[2]


def test_trim_never_adds() -> None:
    mask = np.array([True, False, False, False])
    (trimmed,) = masks.trim([np.array([1, 9, 9, 9], np.float32)], [mask], [0], [2])
    assert trimmed.tolist() == mask.tolist()


def test_sparsity_counts_real_zeros_of_prunable_weights_only() -> None:
    assert masks.sparsity([np.array([0, 1, 0, 0.0]), np.zeros(100)], [0]) == 0.75


@given(st.integers(0, 2**32))
def test_pack_round_trip(seed: int) -> None:
    rng = np.random.default_rng(seed)
    original = [rng.random((3, 5)) < 0.5, rng.random(7) < 0.1]
    back = masks.unpack(masks.pack(original), [(3, 5), (7,)])
    assert all(np.array_equal(a, b) for a, b in zip(original, back, strict=True))


def test_counts_of_a_model_follow_one_threshold() -> None:
    """Ten weights, the five largest survive: three of the first tensor, two of the second; by layer 3 and 3 at 0.4."""
    weights = [np.array([9, 8, 7, 1, 1], np.float32), np.array([6, 5, 1, 1, 1], np.float32)]
    assert masks.counts(weights, [0, 1], 0.5, "model") == [3, 2]
    assert masks.counts(weights, [0, 1], 0.4) == [3, 3]


def test_a_model_wide_threshold_leaves_every_layer_something() -> None:
    weights = [np.full(50, 9, np.float32), np.full(50, 1, np.float32)]
    assert masks.counts(weights, [0, 1], 0.9, "model") == [10, 1]

"""Choosing, trimming and packing masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcompress.compression import masks


@pytest.mark.parametrize(
    ("size", "sparsity", "expected"),
    [
        (100, 0.9, 10),
        (72, 0.8, 14),
        (72, 0.9, 7),
        (5, 0.99, 1),
        (1, 0.5, 1),
        (40, 0.0, 40),
        (2**24 + 3, 0.0, 2**24 + 3),
    ],
)
def test_kept(size: int, sparsity: float, expected: int) -> None:
    """max(round(n (1 - s)), 1): 72 * 0.2 = 14.4 -> 14, 72 * 0.1 = 7.2 -> 7."""
    assert masks.survivors(size, sparsity) == expected


def test_largest_takes_the_first_of_equals() -> None:
    assert masks.largest(np.array([[1.0, -3.0], [3.0, 3.0]]), 2).tolist() == [[False, True], [True, False]]


@given(st.integers(0, 2**32), st.floats(0, 0.95), st.floats(0, 0.95))
def test_masks_of_one_tensor_are_nested(seed: int, one: float, other: float) -> None:
    """A sparser client's mask is a subset of a denser one's, also with many ties."""
    weights = [np.random.default_rng(seed).integers(-3, 4, (6, 5)).astype(np.float32)]
    low, high = sorted((one, other))
    keep = [[masks.survivors(30, s)] for s in (low, high)]
    (dense,), (sparse,) = masks.choose(weights, [0], keep[0]), masks.choose(weights, [0], keep[1])
    assert not (sparse & ~dense).any()
    assert sparse.sum() == masks.survivors(30, high)


def test_of_what_ties_left_the_smallest_go() -> None:
    """Ten weights, nine of them zero: a threshold of zero keeps all ten where 0.8 asks for two."""
    weights = [np.array([0, 0, 5, 0, 0, 0, 0, 0, 0, 0], np.float32)]
    (cut,) = masks.adjusted(weights, [np.ones(10, bool)], [0], [2])
    assert cut.tolist() == [True, False, True, *[False] * 7]


def test_to_too_few_the_largest_others_come() -> None:
    mask = np.array([[True, False], [False, False]])
    weights = [np.array([[1, -7], [9, 9]], np.float32)]
    (filled,) = masks.adjusted(weights, [mask], [0], [2])
    assert filled.tolist() == [[True, False], [True, False]]
    (as_it_was,) = masks.adjusted(weights, [mask], [0], [1])
    assert as_it_was.tolist() == mask.tolist()


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
    """Ten of a hundred: one of the small weights, and nine of the large ones for it."""
    weights = [np.full(50, 9, np.float32), np.full(50, 1, np.float32)]
    assert masks.counts(weights, [0, 1], 0.9, "model") == [9, 1]
    assert masks.counts(weights, [1, 0], 0.9, "model") == [1, 9]
    assert masks.counts(weights, [0, 1], 0.999, "model") == [1, 1]


MEDIUM = [(3, 3, 1, 8), (3, 3, 8, 16), (3, 3, 16, 16), (256, 10)]
"""Kernels of medium-cnn: sums of their sides 15, 30, 38 and 266, sizes 72, 1,152, 2,304 and 2,560."""


@pytest.mark.parametrize(
    ("shapes", "total", "expected"),
    [
        # 609 * (15, 30, 38, 266) / 349 = 26.2, 52.3, 66.3, 464.2
        (MEDIUM, 609, [26, 52, 66, 465]),
        # 3044 * 15 / 349 = 131 > 72, so 72 and 2972 * (30, 38, 266) / 334 = 266.9, 338.1, 2366.9
        (MEDIUM, 3044, [72, 267, 338, 2367]),
        # 72 and 2,560, and of the remaining 3,368 more than 1,152 to the second: 72, 1152, 2216 are capped in turn
        (MEDIUM, 6000, [72, 1152, 2216, 2560]),
        (MEDIUM, 6088, [72, 1152, 2304, 2560]),
        (MEDIUM, 4, [1, 1, 1, 1]),
        # (784, 100), (100, 50), (50, 10): 884, 150 and 60 of 1,094; 547 is half of it
        ([(784, 100), (100, 50), (50, 10)], 547, [442, 75, 30]),
        ([(5, 1, 3), (4, 4)], 17, [9, 8]),
    ],
)
def test_erk_by_hand(shapes: list[tuple[int, ...]], total: int, expected: list[int]) -> None:
    assert masks.erk_counts(shapes, total) == expected


@st.composite
def kernels(draw: st.DrawFn) -> list[np.ndarray]:
    """Up to five kernels, with many ties and zeros among their weights."""
    side = st.integers(1, 7)
    shape = st.one_of(st.tuples(side, side), st.tuples(st.just(3), side, side), st.tuples(st.just(2), side, side, side))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [rng.integers(-3, 4, s).astype(np.float32) for s in draw(st.lists(shape, min_size=1, max_size=5))]


@given(kernels(), st.sampled_from(["layer", "model", "erk"]), st.floats(0, 0.999), st.floats(0, 0.999))
def test_counts_are_exact_and_nested_at_every_sparsity(
    weights: list[np.ndarray], scope: masks.Scope, one: float, other: float
) -> None:
    """As many as `kept` says of all together, one at least of each; and a sparser mask is part of a denser one."""
    prunable = list(range(len(weights)))
    low, high = sorted((one, other))
    dense, sparse = (masks.counts(weights, prunable, s, scope) for s in (low, high))
    sizes = [w.size for w in weights]
    for counts, asked in ((dense, low), (sparse, high)):
        assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))
        if scope == "layer":
            assert counts == [masks.survivors(size, asked) for size in sizes]
        else:
            assert sum(counts) == max(masks.survivors(sum(sizes), asked), len(sizes))
    wide, narrow = (masks.choose(weights, prunable, counts) for counts in (dense, sparse))
    assert not any((n & ~w).any() for n, w in zip(narrow, wide, strict=True))


@given(kernels(), st.floats(0, 0.999))
def test_erk_is_proportional_to_sides(weights: list[np.ndarray], sparsity: float) -> None:
    """But for rounding, tensors that are neither full nor down to one keep numbers in proportion to their sides."""
    counts = masks.counts(weights, list(range(len(weights))), sparsity, "erk")
    free = [(count, sum(w.shape)) for count, w in zip(counts, weights, strict=True) if 1 < count < w.size]
    scales = [((count - 0.5) / side, (count + 0.5) / side) for count, side in free]
    assert max((low for low, _ in scales), default=0.0) <= min((high for _, high in scales), default=0.0) + 1e-9

"""Splits of one set of examples, with counts worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcompress.data.splits import holdout, largest_remainder, matched_counts, matched_test, split_validation
from fedcompress.errors import InputError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_holdout_is_stratified() -> None:
    """A fifth of 70 + 25 + 5 examples: quotas 14, 5 and 1 are whole numbers, so every draw gives them."""
    labels = rng().permutation(np.repeat([0, 1, 2], [70, 25, 5]))
    for seed in range(20):
        rest, held = holdout(labels, 0.2, rng(seed))
        assert np.bincount(labels[held]).tolist() == [14, 5, 1]
        assert sorted([*rest, *held]) == list(range(100))
        assert (np.diff(held) > 0).all()
        assert (np.diff(rest) > 0).all()


def test_holdout_is_random_within_classes() -> None:
    """Each of 10 examples of a class is drawn with probability 0.2: of 500 draws 100 +- 4 standard deviations of 9."""
    labels = np.repeat([0, 1], 10)
    counts = np.bincount(np.concatenate([holdout(labels, 0.2, rng(seed))[1] for seed in range(500)]))
    assert counts.sum() == 2000
    assert (np.abs(counts - 100) < 36).all()


@given(st.lists(st.integers(0, 4), max_size=60), st.floats(0, 0.999), st.integers(0, 100))
def test_validation_counts(labels: list[int], fraction: float, seed: int) -> None:
    """The total is rounded, at least one stays, and each class gives the floor or ceiling of its quota."""
    every = np.array([9, 9, *labels, 9], np.int64)
    indices = np.arange(2, 2 + len(labels))
    train, validation = split_validation(indices, every, fraction, rng(seed))
    assert sorted([*train, *validation]) == indices.tolist()
    assert len(validation) == min(int(fraction * len(labels) + 0.5), max(len(labels) - 1, 0))
    assert len(train) > 0 or not labels
    for label in set(labels):
        quota = len(validation) * labels.count(label) / len(labels)
        assert np.floor(quota) <= (every[validation] == label).sum() <= np.ceil(quota)


def test_validation_edges() -> None:
    labels = np.zeros(10, np.int64)
    assert len(split_validation(np.arange(10), labels, 0.0, rng())[1]) == 0
    assert [len(part) for part in split_validation(np.array([3]), labels, 0.9, rng())] == [1, 0]
    assert [len(part) for part in split_validation(np.array([3, 5]), labels, 0.9, rng())] == [1, 1]
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="expected 0 <= fraction < 1"):
            holdout(labels, fraction, rng())


def test_largest_remainder() -> None:
    """Of 10 in proportion 5 : 3 : 1: quotas 5.56, 3.33, 1.11, floors 5 + 3 + 1, the last one to the remainder .56.
    Of 2 in proportion 1 : 1 : 1: three equal remainders, the lower positions win."""
    assert largest_remainder(np.array([5, 3, 1]), 10).tolist() == [6, 3, 1]
    assert largest_remainder(np.array([1, 1, 1]), 2).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("wanted", "available", "limit", "expected"),
    [
        # Plenty: 3 : 1 of the limit.
        ([300, 100], [1000, 1000], 1000, [750, 250]),
        # m = 362 has quotas 271.5 and 90.5, the tie goes to the first: 272 + 90. m = 363 would need 91.
        ([300, 100], [1000, 90], 1000, [272, 90]),
        # m = 3 has quotas 1.5 and 1.5: 2 + 1. m = 4 would need 2 of the second.
        ([7, 7], [10, 1], 1000, [2, 1]),
        # A class without test examples is left out; the rest is 1 : 1.
        ([5, 90, 5], [50, 0, 50], 60, [30, 0, 30]),
        # A class of 1 in 1,000 keeps its place only where rounding gives it one.
        ([999, 1], [400, 400], 1000, [400, 0]),
        ([0, 3], [10, 10], 1000, [0, 10]),
        ([0, 3], [10, 10], 4, [0, 4]),
        ([3, 0], [0, 10], 1000, [0, 0]),
        ([0, 0], [10, 10], 1000, [0, 0]),
        ([1, 1, 1], [1, 1, 1], 1000, [1, 1, 1]),
    ],
)
def test_matched_counts(wanted: list[int], available: list[int], limit: int, expected: list[int]) -> None:
    assert matched_counts(np.array(wanted), np.array(available), limit).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=5), st.integers(1, 60))
def test_matched_counts_are_the_largest_that_fit(classes: list[tuple[int, int]], limit: int) -> None:
    wanted, available = np.array(classes).T
    counts = matched_counts(wanted, available, limit)
    held = np.where(available > 0, wanted, 0)
    assert (counts <= available).all()
    assert (counts > 0).any() == (held > 0).any()
    for total in range(int(counts.sum()) + 1, limit + 1):
        if held.any():
            assert (largest_remainder(held, total) > available).any()


def test_matched_test_draws_without_repetition() -> None:
    test_labels = np.arange(1000) % 10
    client = np.repeat([2, 7], [30, 10])
    drawn = matched_test(client, test_labels, 10, rng(), limit=80)
    assert np.bincount(test_labels[drawn], minlength=10).tolist() == [0, 0, 60, 0, 0, 0, 0, 20, 0, 0]
    assert (np.diff(drawn) > 0).all()
    assert drawn.tolist() != matched_test(client, test_labels, 10, rng(1), limit=80).tolist()
    assert len(matched_test(np.empty(0, np.int64), test_labels, 10, rng())) == 0

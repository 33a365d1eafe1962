"""Intervals against scipy's own on the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fedcompress.results.compare.statistics import Difference, Interval


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_of_a_mean(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(0.85, 0.01, seeds)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = Interval.of(list(values))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_of_a_paired_difference(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    split = rng.normal(0, 0.05, seeds)
    one, two = (0.8 + split + rng.normal(0, 0.01, seeds) for _ in range(2))
    expected = stats.ttest_rel(one, two).confidence_interval(0.95)
    found = Difference.of(dict(enumerate(one)), dict(enumerate(two)))
    assert found.pairs == seeds
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.resolved is not (expected.low <= 0 <= expected.high)


def test_without_common_seeds_it_is_welchs() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.normal(0.8, 0.01, 5), rng.normal(0.82, 0.05, 7)
    expected = stats.ttest_ind(one, two, equal_var=False).confidence_interval(0.95)
    found = Difference.of(dict(enumerate(one)), dict(enumerate(two, 100)))
    assert found.pairs == 0
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_only_common_seeds_are_paired() -> None:
    found = Difference.of({1: 0.5, 2: 0.6, 3: 0.9}, {2: 0.5, 3: 0.7, 4: 0.1})
    assert found.pairs == 2
    assert found.interval.mean == pytest.approx(0.15)


def test_too_few_seeds_say_nothing() -> None:
    assert Interval.of([0.5]) == Interval(0.5, None)
    assert Interval.of([0.5]).low is None
    paired = Difference.of({1: 0.5}, {1: 0.4, 2: 0.6})
    assert (paired.pairs, paired.resolved, paired.interval.mean) == (1, None, pytest.approx(0.1))
    unpaired = Difference.of({1: 0.5}, {2: 0.4})
    assert (unpaired.pairs, unpaired.resolved) == (0, None)


def test_of_what_was_not_measured_there_is_no_interval() -> None:
    assert Interval.of_known([0.1, None, float("nan"), float("inf"), 0.3]) == Interval.of([0.1, 0.3])
    assert Interval.of_known([None, float("nan")]) is None


def test_without_any_spread() -> None:
    assert Difference.of({1: 5.0, 2: 6.0}, {1: 5.0, 2: 6.0}).resolved is False
    assert Difference.of({1: 7.0, 2: 8.0}, {1: 5.0, 2: 6.0}).resolved is True
    assert Difference.of({1: 5.0, 2: 5.0}, {3: 4.0, 4: 4.0}).resolved is True

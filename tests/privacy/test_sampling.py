"""Poisson samples: every example by a draw of its own."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.privacy.sampling import poisson_samples


def test_sizes_are_binomial_and_examples_independent() -> None:
    """4,000 samples of 50 examples with probability 0.1: sizes have mean 5 and variance 4.5, no example is in more
    often than another, and no two are in together, nor anyone again in the next, more often than chance has it: within
    four deviations."""
    steps, n, q = 4000, 50, 0.1
    samples = poisson_samples(n, q, steps, np.random.default_rng(1))
    member = np.zeros((steps, n))
    for row, sample in zip(member, samples, strict=True):
        assert sample.dtype == np.int32
        assert np.array_equal(sample, np.unique(sample))
        row[sample] = 1.0
    sizes = member.sum(axis=1)
    variance = n * q * (1 - q)
    assert sizes.mean() == pytest.approx(n * q, abs=4 * np.sqrt(variance / steps))
    assert sizes.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / steps))
    assert np.abs(member.mean(axis=0) - q).max() < 4 * np.sqrt(q * (1 - q) / steps)
    together = np.corrcoef(member.T) - np.eye(n)
    assert np.abs(together).max() < 5 / np.sqrt(steps)  # the largest of 1,225
    again = (member[1:] * member[:-1]).sum(axis=1)
    assert again.mean() == pytest.approx(n * q**2, abs=4 * np.sqrt(n * q**2 / steps))


def test_all_are_in_and_nobody_is() -> None:
    rng = np.random.default_rng(1)
    assert [sample.tolist() for sample in poisson_samples(3, 1.0, 2, rng)] == [[0, 1, 2]] * 2
    assert {len(sample) for sample in poisson_samples(1, 0.5, 50, rng)} == {0, 1}

"""Whose numbers hide somebody's data."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.privacy.noise import source_of


def test_seeded_noise_repeats_and_that_of_the_system_does_not() -> None:
    rng = np.random.default_rng(1)
    assert source_of("seed", rng) is rng
    before = rng.bit_generator.state
    drawn = [source_of("system", rng).integers(2**63, size=2).tolist() for _ in range(3)]
    assert rng.bit_generator.state == before
    assert len({number for pair in drawn for number in pair}) == 6


def test_its_noise_has_the_deviation_that_is_accounted() -> None:
    """The variance of 1e6 normal draws is within the 99 % interval 1 +- 2.576 sqrt(2 / n)."""
    for source in (source_of("seed", np.random.default_rng(2)), source_of("system", np.random.default_rng(2))):
        drawn = source.standard_normal(10**6)
        # The system's draws differ from run to run: six deviations, so that one run in 5e8 fails.
        within = 2.576 if source.bit_generator.seed_seq.entropy == 2 else 6.0  # type: ignore[attr-defined]
        assert drawn.var() == pytest.approx(1.0, abs=within * np.sqrt(2 / 10**6))

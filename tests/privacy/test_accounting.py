"""Epsilon against published and analytic figures."""

from __future__ import annotations

from math import inf

import pytest

from fedcompress.errors import InputError
from fedcompress.privacy.accounting import Release, epsilon_by, epsilon_of, noise_for


@pytest.mark.parametrize(("epsilon", "sigma"), [(1, 3.7306), (3, 1.3906), (10, 0.4999)])
def test_one_release_is_the_analytic_gaussian(epsilon: float, sigma: float) -> None:
    assert noise_for(epsilon, 1e-5) == pytest.approx(sigma, abs=1e-4)
    assert epsilon_of([Release("embedding", sigma)], 1e-5) == pytest.approx(epsilon, abs=1e-3)


@pytest.mark.parametrize(("noise", "published"), [(0.6, 5.38), (0.8, 2.15), (1.0, 1.25)])
def test_dp_sgd_by_two_accountants(noise: float, published: float) -> None:
    """20 epochs of 60,000 examples in batches of 128, by RDP, whose conversion to epsilon has been tightened since
    5.95 was published for the first; PLD is the tighter of the two bounds."""
    steps = [Release("discriminator", noise, 128 / 60_000, 20 * 60_000 // 128)]
    by = epsilon_by(steps, 1e-5)
    assert by["RDP"] == pytest.approx(published, abs=0.01)
    assert 0.75 * by["RDP"] < by["PLD"] < by["RDP"]
    assert epsilon_of(steps, 1e-5) == by["PLD"]


def test_releases_add_up() -> None:
    one = Release("a", 2.0)
    both = [one, Release("b", 2.0)]
    assert epsilon_of(both, 1e-5) == epsilon_of([Release("a", 2.0, steps=2)], 1e-5)
    assert epsilon_of(both, 1e-5) == pytest.approx(epsilon_of([Release("c", 2.0 / 2**0.5)], 1e-5))
    sampled = Release("d", 1.0, 0.01, 100)
    assert max(map(epsilon_of, ([one], [sampled]), (1e-5, 1e-5))) < epsilon_of([one, sampled], 1e-5)
    assert epsilon_of([], 1e-5) == 0.0
    assert epsilon_of([one, Release("label counts", 0.0)], 1e-5) == inf


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-4, 1e-5), (0.05, 0.05), (1.0, 0.3)])
def test_noise_is_found_where_more_of_it_costs_nothing(epsilon: float, delta: float) -> None:
    noise = noise_for(epsilon, delta, sampling=0.05, steps=20)
    assert epsilon_of([Release("", noise, 0.05, 20)], delta) <= epsilon


@pytest.mark.parametrize("before", [(), (Release("counts", 8.0),)])
def test_noise_for_a_budget(before: tuple[Release, ...]) -> None:
    noise = noise_for(3.0, 1e-5, sampling=0.02, steps=500, before=before)
    spent = epsilon_of([*before, Release("", noise, 0.02, 500)], 1e-5)
    assert 2.99 < spent <= 3.0


def test_a_budget_that_is_spent() -> None:
    with pytest.raises(InputError, match=r"a budget of 1, of which 1.* is spent"):
        noise_for(1.0, 1e-5, before=[Release("embedding", 3.7306)])


@pytest.mark.parametrize(("noise", "sampling", "steps"), [(-1.0, 1.0, 1), (1.0, 0.0, 1), (1.0, 1.1, 1), (1.0, 0.5, 0)])
def test_what_no_mechanism_can_have(noise: float, sampling: float, steps: int) -> None:
    with pytest.raises(InputError, match="expected noise of 0 or more"):
        Release("x", noise, sampling, steps)

"""What releases of somebody's data cost, in epsilon at a delta, by dp-accounting: RDP and PLD, and the smaller of them.

Neighbouring data sets differ in one unit that is there or is not (`unit` of `[privacy]`: an example or a client).
Releases that share nothing but the data compose, whatever is done with them afterwards costs nothing (Dwork and Roth
2014, theorem 3.16 and proposition 2.1).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, log, sqrt
from typing import TYPE_CHECKING, Any

from fedcompress.errors import InputError

if TYPE_CHECKING:
    from dp_accounting import DpEvent

LARGEST_NOISE = 1e6
"""Above it, a search for noise has failed."""
TOLERANCE = 1e-4
"""By which share more than the least noise a search may return."""
INTERVAL = 1e-3
"""Of privacy losses, that the PLD accountant rounds up to: its bound is at most some thousandths of epsilon above that
of its default, 1e-4, in a tenth of the time."""


@dataclass(frozen=True)
class Release:
    """Noisy sums of somebody's data: one, or one in each of many steps on Poisson samples.

    Attributes:
        what: What is released, as a person reads it: a content's name.
        noise: Deviation of the normal noise, divided by the sensitivity (the most that one unit changes the sum, in
            the Euclidean norm); 0 for what is released as it is, which costs an infinite epsilon.
        sampling: Probability with which each unit takes part in a step, independently of the others; 1: all do.
        steps: Number of sums.

    Raises:
        InputError: A number that no mechanism can have.
    """

    what: str
    noise: float
    sampling: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.noise < inf and 0 < self.sampling <= 1 and self.steps >= 1):
            raise InputError(
                f"{self.what}: received noise {self.noise}, sampling {self.sampling}, steps {self.steps}; expected "
                "noise of 0 or more, sampling above 0 up to 1, and at least 1 step."
            )


def epsilon_of(releases: Iterable[Release], delta: float) -> float:
    """Returns the epsilon of all releases together at `delta`: 0 without any, infinite if one has no noise.

    Sums without sampling compose to one of noise (sum of 1 / noise^2)^(-1/2), whose epsilon is that of the analytic
    Gaussian mechanism (Balle and Wang 2018, theorem 8). With sampling it is the smaller one of an RDP accountant
    (Mironov 2017; Mironov et al. 2019) and a PLD accountant (Koskela et al. 2020), both upper bounds.

    Args:
        releases: Of the same data.
        delta: Probability, above 0 and below 1.
    """
    return _epsilon(tuple(sorted(_merged(releases), key=repr)), delta)


def _merged(releases: Iterable[Release]) -> list[Release]:
    """Returns releases that are alike as one of more steps, so that accountants compose them at once."""
    steps: dict[tuple[float, float], int] = {}
    for release in releases:
        key = (release.noise, release.sampling)
        steps[key] = steps.get(key, 0) + release.steps
    return [Release("", noise, sampling, count) for (noise, sampling), count in steps.items()]


@lru_cache(maxsize=4096)
def _epsilon(releases: tuple[Release, ...], delta: float) -> float:
    if not 0 < delta < 1:
        raise InputError(f"delta: received {delta}, expected more than 0 and less than 1.")
    if not releases:
        return 0.0
    if any(release.noise == 0 for release in releases):
        return inf
    if all(release.sampling == 1 for release in releases):
        return float(_accounting().get_epsilon_gaussian(_together(releases), delta))
    return min(epsilon_by(releases, delta).values())


def epsilon_by(releases: Iterable[Release], delta: float) -> dict[str, float]:
    """Returns accountant -> epsilon of all releases together; both are upper bounds."""
    dp = _accounting()
    event = dp.ComposedDpEvent([_event(release) for release in releases])
    result = {}
    pld = dp.pld.PLDAccountant(value_discretization_interval=INTERVAL)
    for name, accountant in (("RDP", dp.rdp.RdpAccountant()), ("PLD", pld)):
        result[name] = float(accountant.compose(event).get_epsilon(delta))
    return result


def noise_for(
    epsilon: float, delta: float, *, sampling: float = 1.0, steps: int = 1, before: Iterable[Release] = ()
) -> float:
    """Returns the least noise (see `Release`), to 1e-4 of it, with which `steps` sums cost at most `epsilon`.

    Args:
        epsilon: Of everything together, above 0.
        delta: Probability.
        sampling: Of each step.
        steps: Number of sums.
        before: What has been released before.

    Raises:
        InputError: What has been released before has spent it.
    """
    spent = tuple(before)
    already = epsilon_of(spent, delta)
    if already >= epsilon:
        raise InputError(f"epsilon: received a budget of {epsilon:g}, of which {already:.4g} is spent; raise it.")

    def costs(noise: float) -> float:
        return epsilon_of([*spent, Release("", noise, sampling, steps)], delta)

    if sampling == 1 and not spent:
        return float(_accounting().get_sigma_gaussian(epsilon, delta)) * sqrt(steps)
    from scipy.optimize import brentq

    low = high = 1.0
    while costs(high) > epsilon:
        low, high = high, 2.0 * high
        if high > LARGEST_NOISE:
            raise InputError(f"epsilon: received {epsilon:g}, which no noise up to {LARGEST_NOISE:g} reaches.")
    while costs(low) <= epsilon:
        low, high = low / 2.0, low

    # On logarithmic scales the cost is almost a line, so that a few accountings are enough.
    def excess(log_noise: float) -> float:
        return log(min(max(costs(exp(log_noise)) / epsilon, 1e-6), 1e6))

    noise = exp(brentq(excess, log(low), log(high), xtol=TOLERANCE / 4))
    while costs(noise) > epsilon:
        noise *= 1.0 + TOLERANCE / 2
    return noise


def _together(releases: Iterable[Release]) -> float:
    """Returns the noise of the one sum that costs as much as all of these."""
    return 1.0 / sqrt(sum(release.steps / release.noise**2 for release in releases))


def _event(release: Release) -> DpEvent:
    dp = _accounting()
    event: DpEvent = dp.GaussianDpEvent(release.noise)
    if release.sampling < 1:
        event = dp.PoissonSampledDpEvent(release.sampling, event)
    return dp.SelfComposedDpEvent(event, release.steps)


def _accounting() -> Any:
    import dp_accounting

    # With little noise some orders of Renyi divergence cannot be worked out; the bound is that of the others.
    logging.getLogger("absl").setLevel(logging.ERROR)
    return dp_accounting

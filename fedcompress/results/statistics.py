"""What a few seeds say: the interval of a mean, and of a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the half width of its 95 % confidence interval (Student's t); None of a single value."""

    mean: float
    half_width: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Returns the interval of the values' mean."""
        if len(values) < 2:
            return cls(mean(values), None)
        return cls(mean(values), _quantile(len(values) - 1) * stdev(values) / sqrt(len(values)))

    @property
    def low(self) -> float | None:
        """Lower end."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end."""
        return None if self.half_width is None else self.mean + self.half_width

    def percent(self, sign: str = "") -> str:
        """Returns it as a person reads it: `88.12 ± 0.30`."""
        width = "" if self.half_width is None else f" ± {100 * self.half_width:.2f}"
        return f"{100 * self.mean:{sign}.2f}{width}"


@dataclass(frozen=True)
class Difference:
    """The mean of one variant less that of another.

    Attributes:
        interval: Of the difference.
        pairs: Seeds that both have, whose differences were taken one by one; 0 if the seeds were compared as two
            independent samples (Welch's t).
    """

    interval: Interval
    pairs: int

    @classmethod
    def of(cls, values: Mapping[int, float], others: Mapping[int, float]) -> Difference:
        """Returns values less others, both by seed: paired where at least two seeds are common, or else Welch's.

        Seeds decide the split of the data and the first weights: what they do to both variants alike cancels in pairs.
        """
        common = sorted(values.keys() & others.keys())
        if len(common) >= 2 or (common and min(len(values), len(others)) < 2):
            return cls(Interval.of([values[seed] - others[seed] for seed in common]), len(common))
        return cls(_welch(list(values.values()), list(others.values())), 0)

    @property
    def resolved(self) -> bool | None:
        """Whether zero is outside the interval; None if there are too few seeds for an interval."""
        low, high = self.interval.low, self.interval.high
        return None if low is None or high is None else not low <= 0.0 <= high


def _welch(values: Sequence[float], others: Sequence[float]) -> Interval:
    """The interval of a difference of independent means (Welch, 1947; degrees of freedom by Satterthwaite)."""
    difference = mean(values) - mean(others)
    if min(len(values), len(others)) < 2:
        return Interval(difference, None)
    variances = [stdev(v) ** 2 / len(v) for v in (values, others)]
    if not sum(variances):
        return Interval(difference, 0.0)
    counts = (len(values), len(others))
    freedom = sum(variances) ** 2 / sum(v**2 / (n - 1) for v, n in zip(variances, counts, strict=True))
    return Interval(difference, _quantile(freedom) * sqrt(sum(variances)))


def _quantile(freedom: float) -> float:
    from scipy.stats import t as student_t  # type: ignore[import-untyped,unused-ignore]  # takes a second to import

    return float(student_t.ppf((1 + CONFIDENCE) / 2, freedom))

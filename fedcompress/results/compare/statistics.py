"""What a few seeds say: the interval of a mean, and of a difference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from statistics import mean, stdev

CONFIDENCE = 0.95

Bounds = tuple[float, float]
SHARE: Bounds = (0.0, 1.0)
AMOUNT: Bounds = (0.0, inf)
BETWEEN_SHARES: Bounds = (-1.0, 1.0)
ANY: Bounds = (-inf, inf)


def measured(values: Iterable[float | None]) -> list[float]:
    """Returns the values without those that are absent, NaN or infinite."""
    return [float(value) for value in values if value is not None and isfinite(value)]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval (Student's t), cut at what the mean can be.

    That takes nothing away: no true mean is beyond.

    Attributes:
        mean: Of the values.
        half_width: Of the interval before it is cut; None of a single value.
        bounds: Least and largest mean that there can be.
    """

    mean: float
    half_width: float | None
    bounds: Bounds = ANY

    @classmethod
    def of(cls, values: Sequence[float], bounds: Bounds = ANY) -> Interval:
        """Returns the interval of the values' mean."""
        if len(values) < 2:
            return cls(mean(values), None, bounds)
        return cls(mean(values), _quantile(len(values) - 1) * stdev(values) / sqrt(len(values)), bounds)

    @classmethod
    def of_known(cls, values: Iterable[float | None], bounds: Bounds = ANY) -> Interval | None:
        """Returns the interval of the mean of the values that were measured; None if none was."""
        known = measured(values)
        return cls.of(known, bounds) if known else None

    @property
    def low(self) -> float | None:
        """Lower end."""
        return None if self.half_width is None else max(self.mean - self.half_width, self.bounds[0])

    @property
    def high(self) -> float | None:
        """Upper end."""
        return None if self.half_width is None else min(self.mean + self.half_width, self.bounds[1])

    @property
    def is_cut(self) -> bool:
        """Whether an end is nearer to the mean than the half width."""
        width, (least, most) = self.half_width, self.bounds
        return width is not None and not least <= self.mean - width <= self.mean + width <= most

    def text(self, written: Callable[[float], str], width: Callable[[float], str] | None = None) -> str:
        """Returns it as a person reads it: `0.88 ± 0.30`, or `0.88 (0.58 to 1.00)` if it is cut.

        Args:
            written: Writes the mean and the ends.
            width: Writes the half width; as `written` by default.
        """
        if self.half_width is None or self.low is None or self.high is None:
            return written(self.mean)
        if self.is_cut:
            return f"{written(self.mean)} ({written(self.low)} to {written(self.high)})"
        return f"{written(self.mean)} ± {(width or written)(self.half_width)}"

    def percent(self) -> str:
        """Returns it in percent: `88.12 ± 0.30`."""
        return self.text(lambda value: f"{100 * value:.2f}")

    def signed(self, scale: float = 1.0, digits: int = 4) -> str:
        """Returns a difference: `+0.1234 ± 0.0100`."""
        return self.text(lambda v: f"{scale * v:+.{digits}f}", lambda v: f"{scale * v:.{digits}f}")


@dataclass(frozen=True)
class Difference:
    """The mean of one variant less that of another.

    Attributes:
        interval: Of the difference.
        pairs: Seeds that both have, whose differences were taken one by one; 0 if the seeds were compared as two
            independent samples (Welch's t).
        p: Of the two-sided t-test that the difference is zero; None if there are too few seeds.
    """

    interval: Interval
    pairs: int
    p: float | None = None

    @classmethod
    def of(cls, values: Mapping[int, float], others: Mapping[int, float], bounds: Bounds = ANY) -> Difference:
        """Returns values less others, both by seed: paired where at least two seeds are common, or else Welch's.

        Seeds decide the split of the data and the first weights: what they do to both variants alike cancels in pairs.
        """
        common = sorted(values.keys() & others.keys())
        if len(common) >= 2 or (common and min(len(values), len(others)) < 2):
            interval = Interval.of([values[seed] - others[seed] for seed in common], bounds)
            return cls(interval, len(common), _p(interval, len(common) - 1))
        interval, freedom = _welch(list(values.values()), list(others.values()), bounds)
        return cls(interval, 0, _p(interval, freedom))

    @property
    def resolved(self) -> bool | None:
        """Whether zero is outside the interval; None if there are too few seeds for an interval."""
        low, high = self.interval.low, self.interval.high
        return None if low is None or high is None else not low <= 0.0 <= high


def holm(p: Sequence[float]) -> list[float]:
    """Returns p-values corrected for being several (Holm 1979, "A simple sequentially rejective multiple test
    procedure"): those below 0.05 are of differences of which all are real but for one chance in twenty.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def _p(interval: Interval, freedom: float) -> float | None:
    """Returns how likely a difference this far from zero is by chance, given its interval."""
    if interval.half_width is None:
        return None
    if not interval.half_width:
        return float(not interval.mean)
    from scipy.stats import t as student_t

    deviation = interval.half_width / _quantile(freedom)
    return float(2 * student_t.sf(abs(interval.mean) / deviation, freedom))


def _welch(values: Sequence[float], others: Sequence[float], bounds: Bounds) -> tuple[Interval, float]:
    """The interval of a difference of independent means, and its degrees of freedom (Welch, 1947; Satterthwaite)."""
    difference = mean(values) - mean(others)
    if min(len(values), len(others)) < 2:
        return Interval(difference, None, bounds), 0.0
    variances = [stdev(v) ** 2 / len(v) for v in (values, others)]
    if not sum(variances):
        return Interval(difference, 0.0, bounds), inf
    counts = (len(values), len(others))
    freedom = sum(variances) ** 2 / sum(v**2 / (n - 1) for v, n in zip(variances, counts, strict=True))
    return Interval(difference, _quantile(freedom) * sqrt(sum(variances)), bounds), freedom


def _quantile(freedom: float) -> float:
    from scipy.stats import t as student_t  # type: ignore[import-untyped,unused-ignore]  # takes a second to import

    return float(student_t.ppf((1 + CONFIDENCE) / 2, freedom))

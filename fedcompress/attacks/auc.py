"""How well a score tells two samples apart: the area under the ROC curve, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

NORMAL_95 = 1.959964
"""97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Auc:
    """Area under the ROC curve, and its 95 % interval.

    Attributes:
        value: Probability that a positive scores higher than a negative, ties counted half.
        low: End of the interval, at least 0.
        high: End of the interval, at most 1.
    """

    value: float
    low: float
    high: float


def auc(positives: NDArray[Any], negatives: NDArray[Any]) -> Auc:
    """Returns the AUC of scores, with the interval of DeLong et al. 1988, "Comparing the areas under two or more
    correlated receiver operating characteristic curves" (Biometrics 44): the value +- 1.96 sqrt(S10 / m + S01 / n).

    S10 is the variance over positives of the share of negatives that score lower, S01 that over negatives of the share
    of positives that score higher. Where all positives score higher than all negatives it is 0, and so is the interval.

    Args:
        positives: (m,), two or more.
        negatives: (n,), two or more.
    """
    below = _share_below(positives, negatives)
    above = 1.0 - _share_below(negatives, positives)
    value = float(below.mean())
    half = NORMAL_95 * sqrt(below.var(ddof=1) / len(positives) + above.var(ddof=1) / len(negatives))
    return Auc(value, max(value - half, 0.0), min(value + half, 1.0))


def _share_below(scores: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Returns for each score the share of others that are lower, those that are equal counted half."""
    ordered = np.sort(others)
    lower, not_higher = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    return (lower + not_higher) / (2.0 * len(others))

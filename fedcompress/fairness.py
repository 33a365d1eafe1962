"""How evenly clients fare: the mean over them, and over the tenth that fares worst."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isfinite, nan

import numpy as np


def worst_tenth(accuracies: Sequence[float]) -> Sequence[float]:
    """Returns the tenth of some accuracies that is lowest, at least one; not finite ones do not count."""
    known = sorted(accuracy for accuracy in accuracies if isfinite(accuracy))
    return known[: ceil(0.1 * len(known))]


def over_clients(accuracies: Sequence[float]) -> dict[str, float]:
    """Returns mean, std and worst10, the mean over the worst tenth; NaN if no client was scored."""
    values = np.sort([a for a in accuracies if isfinite(a)])
    if not values.size:
        return dict.fromkeys(("mean", "std", "worst10"), nan)
    worst = float(np.mean(worst_tenth(accuracies)))
    return {"mean": float(values.mean()), "std": float(values.std()), "worst10": worst}

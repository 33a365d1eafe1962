"""Who takes part in a step: Poisson samples, each unit by a draw of its own, so that sampling amplifies privacy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def poisson_samples(n: int, probability: float, steps: int, rng: np.random.Generator) -> list[NDArray[np.int32]]:
    """Returns who is in each step: sorted rows below `n`, each of them with `probability`, whoever else is in.

    Their numbers are binomial, and may be 0. An accountant of Poisson samples (Mironov et al. 2019) is right for these
    and for no others: shuffled batches of one size amplify less than it says (Chua et al. 2024).

    Args:
        n: Number of units.
        probability: Above 0, at most 1.
        steps: Number of samples.
        rng: Secret, like the noise: who knows the samples gains what sampling hides.
    """
    return [np.flatnonzero(rng.random(n) < probability).astype(np.int32) for _ in range(steps)]

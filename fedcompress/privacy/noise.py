"""Where the noise of releases comes from: the run's seed, so that runs repeat, or the operating system."""

from __future__ import annotations

from typing import Literal

import numpy as np


def source_of(noise: Literal["seed", "system"], rng: np.random.Generator) -> np.random.Generator:
    """Returns the generator that all noise of one release is drawn from.

    Args:
        noise: "seed" for `rng` itself: who knows the seed can take that noise off again. "system" for a new one, which
            is seeded by the operating system's entropy.
        rng: One of the run's keyed generators.
    """
    return rng if noise == "seed" else np.random.default_rng()

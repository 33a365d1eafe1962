"""Where the secret numbers of a release come from: its noise, and who takes part in its samples."""

from __future__ import annotations

from typing import Literal

import numpy as np

NoiseSource = Literal["seed", "system"]
"""`[privacy] noise`."""


def source_of(noise: NoiseSource, rng: np.random.Generator) -> np.random.Generator:
    """Returns the generator of all secret numbers of one release.

    Args:
        noise: "seed": they repeat, and whoever knows the seed can undo them; "system": a fresh generator of 128 bits of
            the operating system's entropy.
        rng: Of the run's keyed generators, for this release alone.
    """
    return rng if noise == "seed" else np.random.default_rng()

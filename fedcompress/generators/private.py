"""private: the compact generator, and a discriminator small enough for the noise of private training."""

from __future__ import annotations

from typing import ClassVar

from fedcompress.generators.compact import Compact


class Private(Compact):
    """The noise of DP-SGD grows with the number of the discriminator's weights, its use does not: 38,000 are enough."""

    generator_rate = 1e-3
    discriminator_rate = 5e-4
    features: ClassVar[tuple[int, int, int]] = (24, 32, 48)

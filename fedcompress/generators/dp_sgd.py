"""How a discriminator is trained by DP-SGD: the settings, and when its generator is next trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from fedcompress.errors import InputError


@dataclass(frozen=True)
class DpSgd:
    """How a discriminator is trained privately.

    Attributes:
        clip: Largest Euclidean norm of an example's gradient, over all arrays.
        noise: Deviation of the noise on a step's sum, divided by `clip`.
        batch_size: Expected number of real examples in a step; all of them, if they are fewer.
        discriminator_steps: For one step of the generator; where it is adaptive, for the first.
        adaptive: More steps where the discriminator falls behind, which is seen by its accuracy on generated images, so
            that no example is looked at.
        generator_batch: Generated images in a step of the generator.

    Raises:
        InputError: A number out of range.
    """

    clip: float = 1.0
    noise: float = 1.0
    batch_size: float = 128
    discriminator_steps: int = 50
    adaptive: bool = False
    generator_batch: int = 128

    def __post_init__(self) -> None:
        problems = [
            f"{name}: received {value!r}, expected {expected}."
            for name, value, expected, right in (
                ("clip", self.clip, "more than 0", self.clip > 0),
                ("noise", self.noise, "0 or more", self.noise >= 0),
                ("batch_size", self.batch_size, "more than 0", self.batch_size > 0),
                ("discriminator_steps", self.discriminator_steps, "at least 1", self.discriminator_steps >= 1),
                ("generator_batch", self.generator_batch, "at least 1", self.generator_batch >= 1),
            )
            if not right
        ]
        if problems:
            raise InputError(problems)

    def sampling(self, examples: int) -> float:
        """Returns the probability with which each of so many examples is in a step; their number counts as public."""
        return min(1.0, self.batch_size / examples)


class Pace(NamedTuple):
    """When the generator is next trained. It goes on over the calls that a training is divided into: counted anew in
    each, a call of fewer steps than `every` would train no generator, and none would see that it has to adapt.

    All of it is known from generated images and numbers of steps, so that it costs no privacy.

    Attributes:
        every: Steps of the discriminator for one of the generator.
        since: Those since the last one of the generator.
        accuracy: Moving average of the discriminator's accuracy on generated images, to which `every` adapts.
        waited: Steps of the generator since `every` was last raised.
    """

    every: Any
    since: Any = 0.0
    accuracy: Any = 1.0
    waited: Any = 0.0

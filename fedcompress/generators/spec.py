"""A conditional GAN by name, at one image shape and number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

import numpy as np

from fedcompress.errors import InputError, suggestion
from fedcompress.generators.cgan import Cgan
from fedcompress.generators.compact import Compact
from fedcompress.generators.networks import Networks, Weight, initial
from fedcompress.generators.private import Private
from fedcompress.wire.content import Arrays, ArraySpec, Content

KINDS: dict[str, type[Networks]] = {"compact": Compact, "cgan": Cgan, "private": Private}
NAMES = tuple(KINDS)
"""Names that a scenario may give."""

SMALLEST, LARGEST = 8, 32
"""Height and width of images, pixels."""


@dataclass(frozen=True)
class Gan:
    """The weights of a conditional GAN; optimizer state is not among them.

    Attributes:
        generator: In the order and shapes of `GanSpec.generator_template`.
        discriminator: Likewise.
    """

    generator: Arrays
    discriminator: Arrays


@dataclass(frozen=True)
class GanSpec:
    """What a conditional GAN makes, and the shapes of its weights; equal ones build the same graph.

    Attributes:
        name: One of `NAMES`.
        input_shape: (height, width, 1 or 3) of the images; height and width are multiples of 4 from 8 to 32.
        classes: Number of classes.

    Raises:
        InputError: An unknown name, or images that it cannot make.
    """

    known: ClassVar[tuple[str, ...]] = NAMES

    name: str
    input_shape: tuple[int, ...]
    classes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        problems = []
        if self.name not in self.known:
            problems.append(f"Unknown GAN {self.name!r}.{suggestion(self.name, self.known)}")
        *sides, channels = self.input_shape or (0,)
        if len(sides) != 2 or channels not in (1, 3) or any(n % 4 or not SMALLEST <= n <= LARGEST for n in sides):
            problems.append(
                f"A GAN cannot make inputs of shape {self.input_shape}; expected images (height, width, 1 or 3), "
                f"with height and width multiples of 4 from {SMALLEST} to {LARGEST}."
            )
        if self.classes < 1:
            problems.append(f"A conditional GAN has {self.classes} classes; expected at least 1.")
        if problems:
            raise InputError(problems)

    @cached_property
    def networks(self) -> Networks:
        """What the weights compute."""
        return KINDS[self.name](self.input_shape, self.classes)

    @property
    def generator_template(self) -> Arrays:
        """The generator's weights with the right shapes and no meaning."""
        return _zeros(self.networks.generator)

    @property
    def discriminator_template(self) -> Arrays:
        """The discriminator's weights with the right shapes and no meaning."""
        return _zeros(self.networks.discriminator)

    @property
    def parameters(self) -> int:
        """Number of weights of the generator."""
        return sum(prod(weight.shape) for weight in self.networks.generator)

    @property
    def contents(self) -> dict[str, Content]:
        """Declaration of "generator" and "discriminator"."""
        return {"generator": _content(self.networks.generator), "discriminator": _content(self.networks.discriminator)}

    def initial(self, rng: np.random.Generator) -> Gan:
        """Returns untrained weights."""
        return Gan(initial(self.networks.generator, rng), initial(self.networks.discriminator, rng))


def _zeros(weights: Sequence[Weight]) -> Arrays:
    return [np.zeros(weight.shape, np.float32) for weight in weights]


def _content(weights: Sequence[Weight]) -> Content:
    return Content(tuple(ArraySpec(weight.shape) for weight in weights))

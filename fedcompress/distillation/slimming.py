"""Public data from a slim generator: clients turn its channels off while they train it, and what is left crosses.

The server averages what clients send, and rounds it: a channel that all of them have turned off is zero then, leaves,
and does not come back. Both ways, only channels that are on cross, in `bits` for each weight, with a mask that says
which they are while it is new.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fedcompress.data.federated import Examples
from fedcompress.generators.packed import packed_arrays
from fedcompress.generators.slim_compact import MASKED, SLIM, SlimCompactSpec, compressed, masks, on
from fedcompress.generators.slim_locally import Pull, train_slim
from fedcompress.generators.spec import Gan
from fedcompress.generators.training import TrainedGan
from fedcompress.models.architecture import ModelSpec
from fedcompress.scenario import Scenario
from fedcompress.scenario.public import SLIM_BETA, SLIM_BITS, SLIM_FROM, SLIM_RHO, PublicSettings
from fedcompress.wire.content import Arrays, ArraySpec, Content
from fedcompress.wire.shipped import SHIPPED

GENERATOR_MASK = "generator mask"
"""What is left of a generator, array by array; it crosses once a channel is off."""
KEYS = ("bits", "rho", "beta", "slim_from")
"""Of `[public]`, for a slim generator alone."""
VALUES = {4: "int4", 8: "int8", 32: "float32"}
"""Bits -> value type on the wire."""
GAMMA_RATE = 0.1
"""Learning rate of the gammas, the paper's."""


@dataclass(frozen=True, eq=False)
class SlimTraining:
    """How clients slim the GAN that they train; the same on server and clients.

    Attributes:
        settings: `[public]`, with gan = "slim".
        input_shape: Of one image.
        classes: Number of classes.
    """

    settings: PublicSettings
    input_shape: tuple[int, ...]
    classes: int

    @cached_property
    def spec(self) -> SlimCompactSpec:
        """What crosses and makes images."""
        return SlimCompactSpec(SLIM, self.input_shape, self.classes, self.bits)

    @property
    def bits(self) -> int:
        """Of a weight and of an activation."""
        return self.settings.bits or SLIM_BITS

    def pull(self, round_number: int) -> Pull:
        """Returns what pulls on a client's generator in a round."""
        rho, beta = self.settings.rho, self.settings.beta
        if round_number < (self.settings.slim_from or SLIM_FROM):
            return Pull(0.0, 0.0, GAMMA_RATE)
        return Pull(SLIM_RHO if rho is None else rho, SLIM_BETA if beta is None else beta, GAMMA_RATE)

    @property
    def content(self) -> Content:
        """Declares the generator."""
        arrays = tuple(ArraySpec(array.shape) for array in self.spec.generator_template)
        values = SHIPPED[VALUES[self.bits]]
        return Content(arrays, kept=True, mask=GENERATOR_MASK, masked=MASKED, compressed=values)

    @property
    def mask_content(self) -> Content:
        """Declares what is left of it."""
        template = self.spec.generator_template
        return Content(tuple(ArraySpec(template[i].shape, "bool") for i in MASKED), lossless=True)

    def mask(self, generator: Arrays) -> Arrays | None:
        """Returns what is left of a generator; None for one of which every channel is on."""
        channels = on(self.spec, generator)
        return None if all(layer.all() for layer in channels) else masks(self.spec, channels)

    def compressed(self, mean: Arrays) -> Arrays:
        """Returns the average of clients' generators as it crosses: rounded, without channels that are zero."""
        return compressed(self.spec, mean)

    def train(
        self, gan: Gan, examples: Examples, round_number: int, rng: np.random.Generator,
        guide: tuple[ModelSpec, Arrays] | None,
    ) -> TrainedGan:  # fmt: skip
        """Trains and slims a client's GAN in a round."""
        return train_slim(
            self.spec,
            gan,
            examples,
            self.pull(round_number),
            epochs=self.settings.epochs,
            batch_size=self.settings.batch_size,
            rng=rng,
            guide=guide,
            guide_weight=self.settings.guide,
        )

    def sizes(self, generator: Arrays) -> dict[str, int]:
        """Returns what a generator has left: channels, parameters, their bytes as float32 and packed in `bits`."""
        channels = on(self.spec, generator)
        left = [array[mask] for array, mask in zip(generator, masks(self.spec, channels), strict=False)]
        left.append(generator[-1].ravel())
        parameters = sum(array.size for array in left)
        return {
            "generator_channels": int(sum(layer.sum() for layer in channels)),
            "generator_parameters": parameters,
            "generator_float_bytes": 4 * parameters,
            "generator_packed_bytes": len(packed_arrays(left, self.bits)),
        }

    def ended(self, generator: Arrays) -> str | None:
        """Returns why a generator makes nothing any more, if a layer of it has no channel left."""
        if all(layer.any() for layer in on(self.spec, generator)):
            return None
        return (
            f"a layer of the generator has no channel left at public.rho = {self.pull(2**31).rho:g}; use a smaller rho"
        )


def problems(scenario: Scenario) -> Iterable[str]:
    """Yields keys of a slim generator where there is none, and what does not go with one."""
    public, privacy = scenario.public, scenario.privacy
    if public is None:
        return
    if not public.slimmed:
        for key in KEYS:
            if getattr(public, key) is None:
                continue
            if public.trained_by_clients:
                yield f'public.{key}: is for gan = "slim", received gan = "{public.gan}"; use "slim", or leave it out.'
            else:
                yield (
                    f'public.{key}: is for a GAN that clients train, source = "gan", received source = '
                    f'"{public.source}"; leave it out.'
                )
        return
    if privacy is not None:
        yield (
            'public.gan: received "slim" with [privacy], but a slim generator is trained without noise; use gan = '
            '"private", or public.source = "embedding".'
        )
    yield from _crosses_otherwise(scenario, VALUES[public.bits or SLIM_BITS])


def _crosses_otherwise(scenario: Scenario, expected: str) -> Iterable[str]:
    """Yields settings of the wire by which a generator would not cross as it was slimmed."""
    table = scenario.wire.contents.get("generator")
    if table is None:
        return
    for key, value in (("values", table.values), ("downlink_values", table.downlink_values)):
        if value not in (None, expected):
            yield (
                f'wire.generator.{key}: received "{value}", but a slim generator crosses in the bits that it computes '
                f'with, public.bits; expected "{expected}", or nothing.'
            )
    if table.codec == "dense":
        yield (
            'wire.generator.codec: received "dense", but channels that a slim generator has lost do not cross; leave '
            "it out."
        )

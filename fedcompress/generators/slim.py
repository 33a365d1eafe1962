"""slim: the reference generator with a scale for every channel, so that training can turn channels off.

GAN Slimming (Wang et al. 2020, "GAN Slimming: all-in-one GAN compression by a unified optimization framework") drives
the scales of normalisation layers to zero. The normalisation here is that of the kernels (Salimans and Kingma 2016,
"Weight normalization"): every channel's kernel has norm 1 per output, times its scale gamma. It has no statistics, so
a generator computes the same while it is trained, after it is averaged, and as it is deployed; and it can be multiplied
out, which leaves a plain network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.compression.quantisers import FLOAT_BITS, affine, uniform
from fedcompress.generators.cgan import Cgan
from fedcompress.generators.networks import Weight, leaky
from fedcompress.generators.spec import GanSpec
from fedcompress.wire.content import Arrays

Widths = tuple[int, int, int]
TAPS = 4
"""Outputs to which a 4 x 4 kernel of stride 2 contributes for each input: so often it counts in the norm."""
SCALE = 2.0**0.5
"""Initial gamma: keeps the size of activations (He et al. 2015)."""
GAMMAS = (1, 4, 7)
"""Where gammas are among the weights of a slim generator."""
LAYERS = ("dense", "first", "second")
"""Layers of which channels can be off, as messages call them."""


class Small(Cgan):
    """The reference generator of other widths, its kernels and activations rounded to `bits`.

    Kernels have one scale each (`quantisers.uniform`), activations one range for each image (`quantisers.affine`), so
    that an image does not depend on those beside it. Biases are not rounded.

    Args:
        widths: Channels of the hidden layers; None: those of the reference.
        bits: 2 to 32; 32 rounds nothing.
        noise: Length of z.
    """

    def __init__(self, input_shape: Sequence[int], classes: int, widths: Widths | None, bits: int, noise: int) -> None:
        super().__init__(input_shape, classes)
        self.noise, self.bits, self._widths = noise, bits, widths

    @property
    def widths(self) -> Widths:
        return self._widths or super().widths

    @property
    def positions(self) -> int:
        """Of the first layer's maps."""
        return self.height // 4 * (self.width // 4)

    def generate(self, weights: Sequence[Any], z: Any, labels: Any) -> Any:
        return super().generate(self.rounded(weights), z, labels)

    def rounded(self, weights: Sequence[Any]) -> list[Any]:
        """Returns the weights of a plain generator as they are computed with: kernels rounded, biases as they are."""
        return [self._kernel(array) if index % 2 == 0 else array for index, array in enumerate(weights)]

    def _kernel(self, kernel: Any) -> Any:
        return kernel if self.bits == FLOAT_BITS else uniform(kernel, float(self.bits))

    def activated(self, x: Any) -> Any:
        return activated(x, self.bits)


def activated(x: Any, bits: int) -> Any:
    """Returns the leaky ReLU (batch, ...), rounded to so many bits within each image's own range."""
    if bits == FLOAT_BITS:
        return leaky(x)
    tf, x = keras.tf, leaky(x)
    axes = list(range(1, x.shape.rank))
    low = tf.minimum(tf.reduce_min(x, axes, keepdims=True), 0.0)
    high = tf.maximum(tf.reduce_max(x, axes, keepdims=True), 0.0)
    return affine(x, float(bits), tf.stop_gradient(low), tf.stop_gradient(high))


def dense_directions(dense: Any, positions: int, width: int) -> Any:
    """Returns a dense kernel (inputs, positions, width) in which the norm of a channel is 1 at a position."""
    tf = keras.tf
    by_channel = tf.reshape(dense, [-1, positions, width])
    return by_channel * tf.math.rsqrt(tf.reduce_sum(by_channel**2, [0, 1]) / positions + 1e-12)


def doubled_norms(kernel: Any) -> Any:
    """Returns 1 / the norm of each output of a transposed kernel (4, 4, outputs, inputs) that doubles a side."""
    tf = keras.tf
    return tf.math.rsqrt(tf.reduce_sum(kernel**2, [0, 1, 3]) / TAPS + 1e-12)


class Slim(Small):
    """A small generator with a gamma for every channel of its hidden layers.

    A channel whose gamma is 0 is off: its maps are zero, its shift included, so that nothing changes when it is taken
    out, at padded borders neither. Kernels are rounded after they are multiplied out.
    """

    @property
    def generator(self) -> tuple[Weight, ...]:
        plain, weights = super().generator, []
        for index, width in enumerate(self.widths):
            weights += [plain[2 * index], Weight((width,), mean=SCALE), plain[2 * index + 1]]
        return (*weights, *plain[-2:])

    def rounded(self, weights: Sequence[Any]) -> list[Any]:
        """Returns the weights of a plain generator that makes the same images."""
        tf = keras.tf
        dense, gamma, shift, *others = weights
        on = [tf.cast(tf.not_equal(weights[index], 0.0), tf.float32) for index in GAMMAS]
        unit = dense_directions(dense, self.positions, self.widths[0])
        plain = [self._kernel(tf.reshape(unit * gamma, tf.shape(dense))), shift * tf.tile(on[0], [self.positions])]
        for inputs, outputs in ((0, 1), (1, 2)):
            kernel, gamma, shift, *others = others
            plain += [self._seen(kernel * (doubled_norms(kernel) * gamma)[:, None], on[inputs]), shift * on[outputs]]
        last, bias = others
        return [*plain, self._seen(last, on[2][:, None]), bias]

    def _seen(self, kernel: Any, on: Any) -> Any:
        """Returns a kernel rounded by the scale of what channels that are on see of it; the rest stays, for them to
        come back."""
        return kernel if self.bits == FLOAT_BITS else self._kernel(kernel * on) + kernel * (1.0 - on)


SLIM, SMALL = "slim", "small"
_KINDS: dict[str, type[Small]] = {SLIM: Slim, SMALL: Small}


@dataclass(frozen=True)
class SlimSpec(GanSpec):
    """A generator that is slimmed ("slim"), or that has been ("small"); its discriminator is the reference's.

    Attributes:
        widths: Channels of the generator's hidden layers; None: those of the reference.
        bits: Of a kernel's value and of an activation; 32 rounds nothing.
        noise: Length of z.
    """

    known: ClassVar[tuple[str, ...]] = tuple(_KINDS)

    widths: Widths | None = None
    bits: int = FLOAT_BITS
    noise: int = Cgan.noise

    @cached_property
    def networks(self) -> Small:
        return _KINDS[self.name](self.input_shape, self.classes, self.widths, self.bits, self.noise)


def of_reference(spec: SlimSpec, generator: Arrays) -> Arrays:
    """Returns the weights of the slim generator that makes the same images as a reference generator (`cgan`)."""
    dense, bias, *others = generator
    positions = spec.networks.positions
    norm = np.sqrt((dense.reshape(len(dense), positions, -1) ** 2).sum((0, 1)) / positions)
    weights = [dense, norm, bias]
    for kernel, bias in zip(others[:4:2], others[1:4:2], strict=True):
        weights += [kernel, np.sqrt((kernel**2).sum((0, 1, 3)) / TAPS), bias]
    return [np.array(array, np.float32) for array in [*weights, *others[4:]]]


def on(generator: Arrays) -> list[NDArray[np.bool_]]:
    """Returns which channels of each hidden layer of a slim generator are on."""
    return [generator[index] != 0.0 for index in GAMMAS]


def sliced(spec: SlimSpec, generator: Arrays) -> tuple[SlimSpec, Arrays]:
    """Returns the small generator that is left of a slim one, multiplied out and rounded, and its weights.

    Args:
        spec: Of the slim generator.
        generator: With at least one channel that is on in each layer.
    """
    kept = on(generator)
    plain = [np.asarray(tensor) for tensor in spec.networks.rounded([keras.tf.constant(array) for array in generator])]
    dense, bias, first, first_bias, second, second_bias, last, last_bias = plain
    low, middle, high = kept
    maps = (dense.reshape(len(dense), -1, len(low))[..., low], bias.reshape(-1, len(low))[:, low])
    arrays = [
        maps[0].reshape(len(dense), -1), maps[1].reshape(-1),
        first[:, :, middle][..., low], first_bias[middle],
        second[:, :, high][..., middle], second_bias[high],
        last[:, :, high], last_bias,
    ]  # fmt: skip
    widths = (int(low.sum()), int(middle.sum()), int(high.sum()))
    small = SlimSpec(SMALL, spec.input_shape, spec.classes, widths, spec.bits, spec.noise)
    return small, [np.ascontiguousarray(array) for array in arrays]

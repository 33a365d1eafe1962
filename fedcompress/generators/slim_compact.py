"""slim: a generator of the size of `compact`, of which channels can be off, and which computes with few bits.

It is `compact`, its kernels normalised instead of its pixels: where an image is divided by the norm over its channels,
smaller scales of all channels would change nothing, and a pull on them would turn them off for nothing. It has two
forms. "slim" is the plain one, which crosses and makes images: a channel that is off is zero throughout. "scaled" has a
gamma for every channel, as `generators.slim` has, and is trained; one is made of the other, so gammas never cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.compression.quantisers import FLOAT_BITS, uniform
from fedcompress.generators.compact import Compact
from fedcompress.generators.networks import Weight, doubled
from fedcompress.generators.slim import SCALE, TAPS, activated, dense_directions, doubled_norms
from fedcompress.generators.spec import GanSpec
from fedcompress.wire.content import Arrays

Widths = tuple[int, int]
GAMMAS = (1, 4)
"""Where gammas are among the weights of the scaled form: of the dense layer's channels, and of the next one's."""
MASKED = (0, 1, 2, 3, 4)
"""Arrays of the plain form of which a part leaves with a channel; the bias of the images is the other one."""


class SlimCompact(Compact):
    """The plain form. Arrays have one scale each where they are rounded (`quantisers.uniform`), as on the wire.

    Args:
        bits: Of a weight and of an activation; 32 rounds nothing.
        widths: Channels of its hidden layers; None: those of `compact`.
    """

    def __init__(self, input_shape: Sequence[int], classes: int, bits: int, widths: Widths | None = None) -> None:
        super().__init__(input_shape, classes)
        self.bits, self.maps = bits, widths or Compact.maps

    @property
    def positions(self) -> int:
        """Of the first layer's maps."""
        return self.height // 4 * (self.width // 4)

    def generate(self, weights: Sequence[Any], z: Any, labels: Any) -> Any:
        tf = keras.tf
        dense, bias, first, styles, last, last_bias = weights
        classes = tf.one_hot(labels, self.classes)
        x = activated(tf.matmul(tf.concat([z, classes], axis=1), dense) + bias, self.bits)
        x = tf.reshape(x, [-1, self.height // 4, self.width // 4, self.maps[0]])
        scale, shift = tf.split(tf.matmul(classes, styles)[:, None, None, :], 2, axis=3)
        x = activated(doubled(x, first) * (1.0 + scale) + shift, self.bits)
        return tf.sigmoid(tf.nn.depth_to_space(tf.nn.conv2d(x, last, 1, "SAME") + last_bias, 2))


class Scaled(SlimCompact):
    """The form that is trained. A channel whose gamma is 0 is off: its maps are zero, shifts included."""

    @property
    def generator(self) -> tuple[Weight, ...]:
        dense, bias, first, *others = super().generator
        low, high = (Weight((width,), mean=SCALE) for width in self.maps)
        return (dense, low, bias, first, high, *others)

    def generate(self, weights: Sequence[Any], z: Any, labels: Any) -> Any:
        return super().generate(self.multiplied(weights), z, labels)

    def multiplied(self, weights: Sequence[Any]) -> list[Any]:
        """Returns the plain weights that make the same images, rounded."""
        tf = keras.tf
        dense, low, bias, first, high, styles, last, last_bias = weights
        on_low, on_high = (tf.cast(tf.not_equal(gamma, 0.0), tf.float32) for gamma in (low, high))
        unit = dense_directions(dense, self.positions, self.maps[0])
        return [
            self._rounded(tf.reshape(unit * low, tf.shape(dense))),
            self._rounded(bias * tf.tile(on_low, [self.positions])),
            self._seen(first * (doubled_norms(first) * high)[:, None], on_low),
            self._rounded(styles * tf.tile(on_high, [2])),
            self._seen(last, on_high[:, None]),
            self._rounded(last_bias),
        ]

    def _rounded(self, array: Any) -> Any:
        return array if self.bits == FLOAT_BITS else uniform(array, float(self.bits))

    def _seen(self, kernel: Any, on: Any) -> Any:
        """Returns a kernel rounded by the scale of what channels that are on see of it; the rest stays, for them to
        come back."""
        return self._rounded(kernel * on) + kernel * (1.0 - on)


SLIM, SCALED = "slim", "scaled"
_KINDS: dict[str, type[SlimCompact]] = {SLIM: SlimCompact, SCALED: Scaled}


@dataclass(frozen=True)
class SlimCompactSpec(GanSpec):
    """A slim generator in one of its forms; its discriminator is that of `compact`.

    Attributes:
        bits: Of a weight and of an activation; 32 rounds nothing.
        widths: Channels of the generator's hidden layers; None: those of `compact`.
    """

    known: ClassVar[tuple[str, ...]] = tuple(_KINDS)

    bits: int = FLOAT_BITS
    widths: Widths | None = None

    @cached_property
    def networks(self) -> SlimCompact:
        return _KINDS[self.name](self.input_shape, self.classes, self.bits, self.widths)


def scaled(spec: SlimCompactSpec, plain: Arrays) -> Arrays:
    """Returns the weights of the form that is trained; a channel of zeros has a gamma of 0.

    Args:
        spec: Of the plain form.
        plain: Its weights.
    """
    dense, bias, first, *others = plain
    low = np.sqrt((dense.reshape(len(dense), spec.networks.positions, -1) ** 2).sum((0, 1)) / spec.networks.positions)
    high = np.sqrt((first**2).sum((0, 1, 3)) / TAPS)
    return [np.array(array, np.float32) for array in (dense, low, bias, first, high, *others)]


def plain_of(spec: SlimCompactSpec, trained: Arrays) -> Arrays:
    """Returns the plain form of trained weights, rounded, channels that are off zero throughout.

    Args:
        spec: Of the scaled form.
        trained: Its weights.
    """
    networks = spec.networks
    assert isinstance(networks, Scaled)
    plain = [np.asarray(tensor) for tensor in networks.multiplied([keras.tf.constant(array) for array in trained])]
    return _left(spec, plain, (trained[GAMMAS[0]] != 0.0, trained[GAMMAS[1]] != 0.0))


def compressed(spec: SlimCompactSpec, plain: Arrays) -> Arrays:
    """Returns plain weights rounded, channels of which no weight is left zero throughout."""
    arrays = plain if spec.bits == FLOAT_BITS else [_rounded(array, spec.bits) for array in plain]
    return _left(spec, arrays, on(spec, arrays))


def _left(spec: SlimCompactSpec, plain: Arrays, channels: Channels) -> Arrays:
    """Returns plain weights of which nothing but these channels is left."""
    kept = [np.where(mask, array, np.float32(0.0)) for mask, array in zip(masks(spec, channels), plain, strict=False)]
    return [*kept, plain[-1]]


def _rounded(array: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Rounds as `quantisers.uniform` does."""
    scale = np.float32(np.abs(array).max() / (2 ** (bits - 1) - 1))
    return np.asarray(np.round(array / scale) * scale if scale else array, np.float32)


Channels = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""Which channels of each hidden layer are on."""


def on(spec: SlimCompactSpec, plain: Arrays) -> Channels:
    """Returns which channels of a plain generator are on: those whose kernel is not zero throughout."""
    dense = plain[0].reshape(len(plain[0]), spec.networks.positions, -1)
    return (dense != 0.0).any((0, 1)), (plain[2] != 0.0).any((0, 1, 3))


def masks(spec: SlimCompactSpec, channels: Channels) -> Arrays:
    """Returns what stays of the plain form's `MASKED` arrays with these channels: bool arrays of their shapes."""
    low, high = channels
    positions, (inputs, *_) = np.tile(low, spec.networks.positions), spec.networks.generator[0].shape
    styles = np.tile(np.concatenate([high, high]), (spec.classes, 1))
    first = np.broadcast_to(high[:, None] & low, (4, 4, len(high), len(low)))
    last = np.broadcast_to(high[:, None], (3, 3, len(high), 4 * spec.networks.channels))
    return [np.tile(positions, (inputs, 1)), positions, np.array(first), styles, np.array(last)]


def sliced(spec: SlimCompactSpec, plain: Arrays) -> tuple[SlimCompactSpec, Arrays]:
    """Returns the smaller generator without the channels that are off, which makes the same images, and its weights.

    Args:
        spec: Of the plain form.
        plain: With at least one channel that is on in each layer.
    """
    channels = on(spec, plain)
    widths = (int(channels[0].sum()), int(channels[1].sum()))
    small = SlimCompactSpec(SLIM, spec.input_shape, spec.classes, spec.bits, widths)
    kept = zip(plain, masks(spec, channels), small.generator_template, strict=False)
    return small, [*(array[mask].reshape(to.shape) for array, mask, to in kept), plain[-1]]

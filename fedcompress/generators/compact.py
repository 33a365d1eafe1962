"""compact: a generator of some tens of kilobytes when every weight is a byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedcompress import keras
from fedcompress.generators.networks import Weight, doubled, kernel, leaky
from fedcompress.generators.projection import Projection


class Compact(Projection):
    """A generator whose channels are scaled and shifted by class.

    It works at half the size of the images and below: its last convolution makes the 2 x 2 pixels of each position at
    once (Shi et al. 2016, sub-pixel convolution).

    Generator: dense to (height / 4, width / 4), a transposed convolution, pixel normalisation (Karras et al. 2018,
    section 4.2: no statistics that federated averaging would mix up), a scale and a shift of every channel that depend
    on the class (Dumoulin et al. 2017), a 3 x 3 convolution.
    """

    noise = 32
    generator_rate = 1e-3
    # At the generator's rate the discriminator wins: after two epochs of Fashion-MNIST 0.69 instead of 0.77.
    discriminator_rate = 2e-4
    beta_1 = 0.5
    maps: tuple[int, int] = (24, 48)
    """Channels of the generator at a quarter and at half of the size."""

    @property
    def generator(self) -> tuple[Weight, ...]:
        inputs, (low, high) = self.noise + self.classes, self.maps
        dense = self.height // 4 * (self.width // 4) * low
        return (
            kernel(inputs, dense, inputs=self.noise + 1),
            Weight((dense,)),
            kernel(4, 4, high, low, inputs=4 * low),
            Weight((self.classes, 2 * high)),
            kernel(3, 3, high, 4 * self.channels),
            Weight((4 * self.channels,)),
        )

    def generate(self, weights: Sequence[Any], z: Any, labels: Any) -> Any:
        tf = keras.tf
        dense, bias, first, styles, last, last_bias = weights
        classes = tf.one_hot(labels, self.classes)
        x = leaky(tf.matmul(tf.concat([z, classes], axis=1), dense) + bias)
        x = tf.reshape(x, [-1, self.height // 4, self.width // 4, self.maps[0]])
        x = leaky(_styled(doubled(x, first), tf.matmul(classes, styles)))
        return tf.sigmoid(tf.nn.depth_to_space(tf.nn.conv2d(x, last, 1, "SAME") + last_bias, 2))


def _styled(x: Any, styles: Any) -> Any:
    """Returns maps normalised over the channels of each pixel, then scaled by 1 + a and shifted by b.

    Args:
        x: (batch, height, width, channels).
        styles: (batch, 2 channels), a and b.
    """
    tf = keras.tf
    scale, shift = tf.split(styles[:, None, None, :], 2, axis=3)
    x *= tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=3, keepdims=True) + 1e-8)
    return x * (1.0 + scale) + shift

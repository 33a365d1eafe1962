"""cgan: the conditional DCGAN that serves as reference (Mirza and Osindero 2014; Radford et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.generators.networks import Weight, balanced, doubled, gathered, leaky
from fedcompress.generators.projection import Projection


class Cgan(Projection):
    """Labels enter as one-hot vectors beside the noise.

    Generator: dense to (height / 4, width / 4, noise + classes), two transposed convolutions, a 7 x 7 convolution.

    Its kernels begin small, and Adam forgets early: with kernels that keep the scale of their inputs, and beta_1 0.9,
    discriminators of Fashion-MNIST drove it to black images within an epoch, where sigmoids have no gradient.
    """

    noise = 64
    # Score on held-out images of Fashion-MNIST after 16,000 others in batches of 32, one seed, by rates of both: 4e-4
    # and 2e-4 0.66, 4e-4 and 4e-4 0.70, 4e-4 and 8e-4 0.69, 1e-3 and 2e-4 (batches of 64) 0.62.
    generator_rate = 4e-4
    discriminator_rate = 4e-4
    beta_1 = 0.5
    maps: ClassVar[int] = 128

    @property
    def widths(self) -> tuple[int, int, int]:
        """Channels of the generator's hidden layers: of the dense one at each position, and of the transposed ones."""
        return self.noise + self.classes, self.maps, self.maps

    @property
    def generator(self) -> tuple[Weight, ...]:
        inputs, (low, middle, high) = self.noise + self.classes, self.widths
        dense = self.height // 4 * (self.width // 4) * low
        return (
            balanced(inputs, dense),
            Weight((dense,)),
            balanced(4, 4, middle, low),
            Weight((middle,)),
            balanced(4, 4, high, middle),
            Weight((high,)),
            balanced(7, 7, high, self.channels),
            Weight((self.channels,)),
        )

    def generate(self, weights: Sequence[Any], z: Any, labels: Any) -> Any:
        tf = keras.tf
        dense, bias, first, first_bias, second, second_bias, last, last_bias = weights
        inputs = tf.concat([z, tf.one_hot(labels, self.classes)], axis=1)
        x = self.activated(tf.matmul(inputs, dense) + bias)
        x = tf.reshape(x, [-1, self.height // 4, self.width // 4, self.widths[0]])
        x = self.activated(doubled(x, first) + first_bias)
        x = self.activated(doubled(x, second) + second_bias)
        return tf.sigmoid(gathered(x, last) + last_bias)

    def activated(self, x: Any) -> Any:
        """Returns what a hidden layer of the generator hands on, (batch, ...)."""
        return leaky(x)

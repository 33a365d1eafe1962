"""cgan: the conditional DCGAN that serves as reference (Mirza and Osindero 2014; Radford et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.generators.layers import PLAIN, Layers
from fedcompress.generators.networks import Networks, Weight, balanced, doubled, gathered, leaky


class Cgan(Networks):
    """Labels enter as one-hot vectors beside the noise, and as constant maps beside the image.

    Generator: dense to (height / 4, width / 4, noise + classes), two transposed convolutions, a 7 x 7 convolution.
    Discriminator: two strided convolutions, global maximum, dense.

    Kernels begin small, and Adam forgets early: with kernels that keep the scale of their inputs, and beta_1 0.9, the
    discriminator of Fashion-MNIST drove the generator to black images within an epoch, where sigmoids have no gradient.
    """

    noise = 64
    generator_rate = 2e-4
    discriminator_rate = 3e-4
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

    @property
    def discriminator(self) -> tuple[Weight, ...]:
        return (
            balanced(3, 3, self.channels + self.classes, 64),
            Weight((64,)),
            balanced(3, 3, 64, 128),
            Weight((128,)),
            balanced(128, 1),
            Weight((1,)),
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

    def scores(self, weights: Sequence[Any], images: Any, labels: Any, layers: Layers = PLAIN) -> Any:
        tf = keras.tf
        first, first_bias, second, second_bias, dense, bias = weights
        maps = tf.one_hot(labels, self.classes)[:, None, None, :]
        maps = tf.tile(maps, [1, self.height, self.width, 1])
        x = leaky(layers.convolution(tf.concat([images, maps], axis=3), first, first_bias, 2))
        x = leaky(layers.convolution(x, second, second_bias, 2))
        return layers.dense(tf.reduce_max(x, axis=[1, 2]), dense, bias)[:, 0]

    def real_loss(self, scores: Any) -> Any:
        return keras.tf.nn.softplus(-scores) / 2.0

    def fake_loss(self, scores: Any) -> Any:
        return keras.tf.nn.softplus(scores) / 2.0

    def discriminator_loss(self, weights: Sequence[Any], real: Any, fake: Any, labels: Any) -> Any:
        tf = keras.tf
        logits = self.scores(weights, tf.concat([real, fake], axis=0), tf.concat([labels, labels], axis=0))
        of_real, of_fake = tf.split(logits, 2)
        return tf.reduce_mean(tf.nn.softplus(-of_real) + tf.nn.softplus(of_fake)) / 2.0

    def generator_loss(self, weights: Sequence[Any], fake: Any, labels: Any) -> Any:
        return keras.tf.reduce_mean(keras.tf.nn.softplus(-self.scores(weights, fake, labels)))

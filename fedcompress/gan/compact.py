"""compact: a generator of some tens of kilobytes when every weight is a byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.gan.networks import Networks, Weight, doubled, kernel, leaky, strided


class Compact(Networks):
    """A generator whose channels are scaled and shifted by class, and a projection discriminator.

    Generator: dense to (height / 4, width / 4), two transposed convolutions, each followed by pixel normalisation
    (Karras et al. 2018, section 4.2: no statistics that federated averaging would mix up) and a scale and a shift of
    every channel that depend on the class (Dumoulin et al. 2017), a 3 x 3 convolution.
    Discriminator: three strided convolutions; their features are projected on the class (Miyato and Koyama 2018,
    eq. 3), trained with the hinge loss, and an auxiliary classifier (Odena et al. 2017) tells the class.
    """

    noise = 32
    generator_rate = 1e-3
    discriminator_rate = 1e-3
    beta_1 = 0.5
    maps: ClassVar[tuple[int, int, int]] = (16, 32, 16)
    """Channels of the generator at a quarter, half and full size."""
    features: ClassVar[tuple[int, int, int]] = (24, 48, 64)
    """Channels of the discriminator's convolutions."""
    class_weight: ClassVar[float] = 1.0
    """Of the auxiliary classifier's cross-entropy."""

    @property
    def generator(self) -> tuple[Weight, ...]:
        inputs, (low, middle, high) = self.noise + self.classes, self.maps
        dense = self.height // 4 * (self.width // 4) * low
        return (
            kernel(inputs, dense, inputs=self.noise + 1),
            Weight((dense,)),
            kernel(4, 4, middle, low, inputs=4 * low),
            Weight((self.classes, 2 * middle)),
            kernel(4, 4, high, middle, inputs=4 * middle),
            Weight((self.classes, 2 * high)),
            kernel(3, 3, high, self.channels),
            Weight((self.channels,)),
        )

    @property
    def discriminator(self) -> tuple[Weight, ...]:
        first, second, third = self.features
        flat = -(-self.height // 8) * -(-self.width // 8) * third
        return (
            kernel(4, 4, self.channels, first),
            Weight((first,)),
            kernel(4, 4, first, second),
            Weight((second,)),
            kernel(3, 3, second, third),
            Weight((third,)),
            kernel(flat, 1 + 2 * self.classes),
            Weight((1 + 2 * self.classes,)),
        )

    def generate(self, weights: Sequence[Any], z: Any, labels: Any) -> Any:
        tf = keras.tf
        dense, bias, first, first_styles, second, second_styles, last, last_bias = weights
        classes = tf.one_hot(labels, self.classes)
        x = leaky(tf.matmul(tf.concat([z, classes], axis=1), dense) + bias)
        x = tf.reshape(x, [-1, self.height // 4, self.width // 4, self.maps[0]])
        x = leaky(_styled(doubled(x, first, 0.0), tf.matmul(classes, first_styles)))
        x = leaky(_styled(doubled(x, second, 0.0), tf.matmul(classes, second_styles)))
        return tf.sigmoid(tf.nn.conv2d(x, last, 1, "SAME") + last_bias)

    def _judged(self, weights: Sequence[Any], images: Any, labels: Any) -> tuple[Any, Any]:
        """Returns how real images look as examples of their class (batch,), and class logits (batch, classes)."""
        tf = keras.tf
        first, first_bias, second, second_bias, third, third_bias, dense, bias = weights
        x = leaky(strided(2.0 * images - 1.0, first, first_bias))
        x = leaky(strided(x, second, second_bias))
        x = leaky(strided(x, third, third_bias))
        scores = tf.matmul(tf.reshape(x, [-1, dense.shape[0]]), dense) + bias
        plain, projected, logits = tf.split(scores, [1, self.classes, self.classes], axis=1)
        return plain[:, 0] + tf.reduce_sum(projected * tf.one_hot(labels, self.classes), axis=1), logits

    def discriminator_loss(self, weights: Sequence[Any], real: Any, fake: Any, labels: Any) -> Any:
        tf = keras.tf
        scores, logits = self._judged(weights, tf.concat([real, fake], axis=0), tf.concat([labels, labels], axis=0))
        (of_real, of_fake), (known, _) = tf.split(scores, 2), tf.split(logits, 2)
        hinge = tf.nn.relu(1.0 - of_real) + tf.nn.relu(1.0 + of_fake)
        return tf.reduce_mean(hinge + self.class_weight * _cross_entropy(known, labels))

    def generator_loss(self, weights: Sequence[Any], fake: Any, labels: Any) -> Any:
        scores, logits = self._judged(weights, fake, labels)
        return keras.tf.reduce_mean(self.class_weight * _cross_entropy(logits, labels) - scores)


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


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return keras.tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

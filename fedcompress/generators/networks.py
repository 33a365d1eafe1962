"""Interface of a conditional GAN: the weights of its two networks, and what they compute on tensors.

The networks are functions of a list of weights, so that shapes and initial weights are known without TensorFlow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np

from fedcompress import keras
from fedcompress.generators.layers import PLAIN, Layers
from fedcompress.wire.content import Arrays

LEAK = 0.2
"""Slope of the leaky ReLU below zero (Radford et al. 2016, DCGAN)."""


@dataclass(frozen=True)
class Weight:
    """One array of a network.

    Attributes:
        shape: As TensorFlow's operations expect it.
        deviation: Standard deviation of its initial values, which are normal; 0 for a bias or a scale.
        mean: Of its initial values: 0, but for a scale.
    """

    shape: tuple[int, ...]
    deviation: float = 0.0
    mean: float = 0.0


def kernel(*shape: int, inputs: int | None = None) -> Weight:
    """Returns a kernel that keeps the scale of its inputs (He et al. 2015).

    Args:
        shape: Its last axis is the output, except in a transposed convolution.
        inputs: Number of inputs of an output element, where it is not the product of the other axes.
    """
    return Weight(shape, sqrt(2.0 / (inputs or prod(shape[:-1]))))


def balanced(*shape: int) -> Weight:
    """Returns a kernel that keeps the scale of inputs and gradients halfway (Glorot and Bengio 2010)."""
    return Weight(shape, sqrt(2.0 / (prod(shape[:-2]) * (shape[-2] + shape[-1]))))


class Networks(ABC):
    """A generator and a discriminator for one image shape and number of classes.

    Args:
        input_shape: (height, width, channels); height and width are multiples of four.
        classes: Number of classes.
    """

    noise: int
    """Length of z."""
    generator_rate: ClassVar[float]
    discriminator_rate: ClassVar[float]
    beta_1: ClassVar[float]
    """Adam's decay of the first moment."""

    def __init__(self, input_shape: Sequence[int], classes: int) -> None:
        self.height, self.width, self.channels = input_shape
        self.classes = classes

    @property
    @abstractmethod
    def generator(self) -> tuple[Weight, ...]:
        """The generator's weights, in the order in which `generate` takes them."""

    @property
    @abstractmethod
    def discriminator(self) -> tuple[Weight, ...]:
        """The discriminator's weights, in the order in which the losses take them."""

    @abstractmethod
    def generate(self, weights: Sequence[Any], z: Any, labels: Any) -> Any:
        """Returns images (batch, height, width, channels) in [0, 1] of noise (batch, noise) and labels (batch,)."""

    @abstractmethod
    def scores(self, weights: Sequence[Any], images: Any, labels: Any, layers: Layers = PLAIN) -> Any:
        """Returns how much the discriminator takes images (batch, ...) for real ones of their class, (batch,).

        Args:
            weights: The discriminator's.
            images: (batch, height, width, channels), in [0, 1].
            labels: (batch,), int32.
            layers: What computes the layers: in the order of the weights, which are a kernel and a bias for each.
        """

    @abstractmethod
    def real_loss(self, scores: Any) -> Any:
        """Returns the discriminator's loss for each score of a real image."""

    @abstractmethod
    def fake_loss(self, scores: Any) -> Any:
        """Returns the discriminator's loss for each score of a generated image."""

    @abstractmethod
    def discriminator_loss(self, weights: Sequence[Any], real: Any, fake: Any, labels: Any) -> Any:
        """Returns the discriminator's mean loss on real and generated images of the same labels."""

    @abstractmethod
    def generator_loss(self, weights: Sequence[Any], fake: Any, labels: Any) -> Any:
        """Returns the generator's mean loss on its images, given the discriminator's weights."""


def initial(weights: Sequence[Weight], rng: np.random.Generator) -> Arrays:
    """Returns initial values of a network's weights."""
    drawn = [(w.deviation * rng.standard_normal(w.shape)).astype(np.float32) for w in weights]
    return [array + np.float32(w.mean) if w.mean else array for array, w in zip(drawn, weights, strict=True)]


def leaky(x: Any) -> Any:
    """Returns the leaky ReLU."""
    return keras.tf.nn.leaky_relu(x, LEAK)


def doubled(x: Any, weights: Any) -> Any:
    """Returns a transposed convolution that doubles height and width; kernels are (h, w, outputs, inputs)."""
    tf = keras.tf
    _, height, width, _ = x.shape
    shape = tf.stack([tf.shape(x)[0], 2 * height, 2 * width, weights.shape[2]])
    y = tf.nn.conv2d_transpose(x, weights, shape, 2, "SAME")
    return tf.ensure_shape(y, [None, 2 * height, 2 * width, weights.shape[2]])


def gathered(x: Any, weights: Any) -> Any:
    """Returns a convolution (batch, height, width, outputs), padded with zeros, for kernels of odd size to few outputs.

    Every position is first multiplied with the whole kernel, one map for each of its places and outputs, and the maps
    are then shifted and added: for 7 x 7 kernels from 128 channels to one this takes a quarter of the time of
    `tf.nn.conv2d`, and two fifths with both gradients.

    Args:
        x: (batch, height, width, channels).
        weights: (kernel height, kernel width, channels, outputs).
    """
    tf = keras.tf
    (_, rows, columns, channels), (high, wide, _, outputs) = x.shape, weights.shape
    places = [(i, j) for i in range(high) for j in range(wide)]

    def turned(patches: Any) -> Any:
        """Swaps the order of a kernel's places, which a gradient sees from the other side."""
        return tf.reverse(patches, [0, 1])

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolved(x: Any, weights: Any) -> Any:
        flat = tf.reshape(x, [-1, channels])
        kernel = tf.reshape(tf.transpose(weights, [2, 0, 1, 3]), [channels, -1])
        maps = tf.reshape(tf.matmul(flat, kernel), [-1, rows, columns, high * wide, outputs])
        maps = tf.pad(maps, [[0, 0], [high // 2] * 2, [wide // 2] * 2, [0, 0], [0, 0]])
        y = tf.add_n([maps[:, i : i + rows, j : j + columns, n] for n, (i, j) in enumerate(places)])

        def gradients(of_y: Any) -> tuple[Any, Any]:
            patches = tf.image.extract_patches(of_y, [1, high, wide, 1], [1] * 4, [1] * 4, "SAME")
            patches = tf.reshape(patches, [-1, high * wide * outputs])
            backwards = tf.reshape(tf.transpose(turned(weights), [0, 1, 3, 2]), [-1, channels])
            of_kernel = tf.reshape(tf.matmul(patches, flat, transpose_a=True), [high, wide, outputs, channels])
            return tf.reshape(tf.matmul(patches, backwards), tf.shape(x)), turned(tf.transpose(of_kernel, [0, 1, 3, 2]))

        return y, gradients

    return convolved(x, weights)

"""A generator of images that is trained by models alone: images that an ensemble is sure of and a student is not.

Zhang et al. 2022, "DENSE: Data-free one-shot federated learning" (NeurIPS), section 3.2: the generator minimises
CE(D(G(z)), y) + lambda_1 L_BN + lambda_2 L_div, where D is the mean of the teachers' logits; L_BN is by how much mean
and variance of what enters each batch normalisation of a teacher differ from its moving ones, as norms over channels,
the mean over teachers; and L_div = -KL(D || f_S) on the images on which teachers and student name different classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.loop import assign, make_optimizer
from fedcompress.training.objectives import cross_entropy, kl_divergence
from fedcompress.wire.content import Arrays
from fedcompress.wire.vector import joined

CHANNELS = (128, 64)
"""Of the generator's maps, at a quarter and a half, and at the whole of an image's sides (the authors' network)."""
LEAK = 0.2
MULTIPLE = 4
"""Sides of an image are multiples of it."""


@dataclass(frozen=True)
class DataFree:
    """How the generator is trained.

    Attributes:
        noise: Length of z.
        batch_size: Images in a step.
        learning_rate: Of Adam.
        bn, diversity: lambda_1 and lambda_2.
    """

    noise: int
    batch_size: int
    learning_rate: float
    bn: float
    diversity: float


class Synthesiser:
    """A generator with its optimizer, teachers, and one graph that runs some steps of it.

    Not thread-safe: its variables belong to one call at a time.

    Args:
        teachers: Models and their weights.
        student: What is to learn.
        settings: How.
        seed: Of the generator's initial weights.
    """

    def __init__(
        self, teachers: Sequence[tuple[ModelSpec, Arrays]], student: ModelSpec, settings: DataFree, seed: int
    ) -> None:
        with keras.LOCK:
            self._settings = settings
            self._generator = _network(student.input_shape, settings.noise, seed)
            self._teachers = [_with_statistics(spec.build()) for spec, _ in teachers]
            for (built, _, _), (_, weights) in zip(self._teachers, teachers, strict=True):
                built.set_weights(weights)
            self._student = student.build()
            variables = self._generator.trainable_variables
            self._optimizer = make_optimizer(
                "adam", variables, learning_rate=settings.learning_rate, beta_1=0.5, beta_2=0.999
            )
            size = sum(int(np.prod(v.shape)) for v in self._student.weights)
            tf = keras.tf
            inputs = [
                tf.TensorSpec([size]),
                tf.TensorSpec([None, settings.noise]),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([], tf.int32),
            ]
            function = tf.function(self._run, input_signature=inputs, autograph=False)
            self._graph = function.get_concrete_function()

    def images(
        self, student: Arrays, z: NDArray[np.float32], labels: NDArray[np.int32], steps: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """Trains the generator on noise z (n, noise) for labels (n,), and returns what it then makes of it.

        Args:
            student: Weights of the student, as it is now.
            z: One row for each image.
            labels: That the teachers are to see in it.
            steps: Of the optimizer.

        Returns:
            Images (n, *input_shape) in [0, 1], the teachers' mean logits of them, and the last step's loss.
        """
        tf = keras.tf
        flat = tf.constant(joined(student, np.float32))
        images, logits, loss = self._graph(flat, tf.constant(z), tf.constant(labels), tf.constant(steps))
        return images.numpy(), logits.numpy(), float(loss)

    def _run(self, student: Any, z: Any, labels: Any, steps: Any) -> Any:
        tf = keras.tf
        assign(self._student.weights, student)
        variables = self._generator.trainable_variables

        def step(index: Any, _: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                loss = self._loss(self._generator(z, training=True), labels)
            gradients = zip(tape.gradient(loss, variables), variables, strict=True)
            self._optimizer.apply_gradients(gradients, experimental_aggregate_gradients=False)
            return index + 1, loss

        start = (tf.constant(0), tf.constant(0.0))
        _, loss = tf.while_loop(lambda index, _: index < steps, keras.apart(step), start, parallel_iterations=1)
        images = self._generator(z, training=True)
        return images, self._taught(images)[0], loss

    def _loss(self, images: Any, labels: Any) -> Any:
        """Returns what the generator minimises."""
        tf = keras.tf
        ensemble, differences = self._taught(images)
        logits = self._student(images, training=False)
        disputed = tf.cast(tf.argmax(ensemble, axis=1) != tf.argmax(logits, axis=1), tf.float32)
        diversity = -tf.reduce_mean(disputed * kl_divergence(ensemble, logits))
        errors = tf.reduce_mean(cross_entropy(ensemble, labels))
        return errors + self._settings.bn * differences + self._settings.diversity * diversity

    def _taught(self, images: Any) -> tuple[Any, Any]:
        """Returns the teachers' mean logits, and L_BN."""
        tf = keras.tf
        logits, differences = [], [tf.constant(0.0)]
        for _, extended, layers in self._teachers:
            of_images, *entering = tf.nest.flatten(extended(images, training=False))
            logits.append(of_images)
            for layer, maps in zip(layers, entering, strict=True):
                mean, variance = tf.nn.moments(maps, axes=list(range(len(maps.shape) - 1)))
                differences += [tf.norm(mean - layer.moving_mean) + tf.norm(variance - layer.moving_variance)]
        count = float(len(self._teachers))
        return tf.add_n(logits) / count, tf.add_n(differences) / count

    @property
    def weights(self) -> Arrays:
        """Of the generator, as it is now."""
        return [variable.numpy() for variable in self._generator.weights]


def fits(input_shape: Sequence[int]) -> bool:
    """Says whether there is a generator for inputs of a shape."""
    return len(input_shape) == 3 and input_shape[0] % MULTIPLE == input_shape[1] % MULTIPLE == 0


def _network(input_shape: Sequence[int], noise: int, seed: int) -> Any:
    """Returns a new generator (n, noise) -> images in [0, 1]; the authors', for any sides."""
    height, width, channels = input_shape
    first, second = CHANNELS
    layers = keras.layers
    with keras.seeded(seed):
        z = keras.Input((noise,))
        x = layers.Dense(height // MULTIPLE * (width // MULTIPLE) * first)(z)
        x = layers.Reshape((height // MULTIPLE, width // MULTIPLE, first))(x)
        x = layers.BatchNormalization()(x)
        for filters in (first, second):
            x = layers.Conv2D(filters, 3, padding="same")(layers.UpSampling2D(2)(x))
            x = layers.LeakyReLU(LEAK)(layers.BatchNormalization()(x))
        return keras.Model(z, layers.Conv2D(channels, 3, padding="same", activation="sigmoid")(x))


def _with_statistics(model: Any) -> tuple[Any, Any, list[Any]]:
    """Returns a model, the same with what enters its batch normalisations as further outputs, and those layers."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return model, keras.Model(model.input, [model.output, *(layer.input for layer in layers)]), layers

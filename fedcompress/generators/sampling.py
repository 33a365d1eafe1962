"""Images that a generator makes, and what one costs, made or trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.generators.spec import GanSpec
from fedcompress.models.cost import traced
from fedcompress.training import work
from fedcompress.wire.content import Arrays
from fedcompress.wire.vector import Shapes, joined, shapes_of, sizes_of

SAMPLING_BATCH = 500
"""Images in one forward pass; bounds memory."""


def stateless_seed(rng: np.random.Generator) -> NDArray[np.int32]:
    """Returns the seed of TensorFlow's stateless random numbers."""
    return rng.integers(0, 2**31, 2).astype(np.int32)


def sample(spec: GanSpec, generator: Arrays, labels: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns generated images (n, *input_shape) of labels (n,); the same weights and `rng` give the same images."""
    if not len(labels):
        return np.empty((0, *spec.input_shape), np.uint8)
    work.add(("generator", spec), len(labels), lambda: sampling_cost(spec))
    sampler: Any = keras.compiled(("sample", spec), lambda: _sampler(spec))
    tf, flat = keras.tf, keras.tf.constant(joined(generator, np.float32))
    parts = np.split(np.asarray(labels, np.int32), range(SAMPLING_BATCH, len(labels), SAMPLING_BATCH))
    return np.concatenate(
        [sampler(flat, tf.constant(part), tf.constant(stateless_seed(rng))).numpy() for part in parts]
    )


def render(spec: GanSpec, generator: Arrays, z: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Returns the images (n, *input_shape) in [0, 1] that a generator makes of noise (n, noise) and labels (n,)."""
    if not len(labels):
        return np.empty((0, *spec.input_shape), np.float32)
    work.add(("generator", spec), len(labels), lambda: sampling_cost(spec))
    renderer: Any = keras.compiled(("render", spec), lambda: _renderer(spec))
    flat, edges = keras.tf.constant(joined(generator, np.float32)), range(SAMPLING_BATCH, len(labels), SAMPLING_BATCH)
    parts = zip(np.split(z, edges), np.split(np.asarray(labels, np.int32), edges), strict=True)
    return np.concatenate([renderer(flat, *map(keras.tf.constant, part)).numpy() for part in parts])


def as_pixels(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns images in [0, 1] as uint8."""
    return np.round(255.0 * images).astype(np.uint8)


def _sampler(spec: GanSpec) -> Any:
    """Returns a compiled pass from a generator's weights (flat), labels (n,) and a seed (2,) to n images, uint8."""
    tf, networks, shapes = keras.tf, spec.networks, shapes_of(spec.generator_template)

    def forward(flat: Any, labels: Any, seed: Any) -> Any:
        z = tf.random.stateless_normal([SAMPLING_BATCH, networks.noise], seed)
        images = networks.generate(_unjoined(flat, shapes), z[: tf.size(labels)], labels)
        return tf.cast(tf.round(255.0 * images), tf.uint8)

    return _forward(forward, [None], ([None], "int32"), ([2], "int32"))


def _renderer(spec: GanSpec) -> Any:
    """Returns a compiled pass from a generator's weights (flat), z (n, noise) and labels (n,) to n images, float32."""
    networks, shapes = spec.networks, shapes_of(spec.generator_template)

    def forward(flat: Any, z: Any, labels: Any) -> Any:
        return networks.generate(_unjoined(flat, shapes), z, labels)

    return _forward(forward, [None], ([None, networks.noise], "float32"), ([None], "int32"))


def _unjoined(flat: Any, shapes: Shapes) -> list[Any]:
    tf = keras.tf
    return [tf.reshape(a, shape) for a, shape in zip(tf.split(flat, sizes_of(shapes)), shapes, strict=True)]


def _forward(function: Any, flat: list[int | None], *inputs: tuple[list[int | None], str]) -> Any:
    with keras.LOCK:
        tf = keras.tf
        signature = [tf.TensorSpec(flat), *(tf.TensorSpec(shape, dtype) for shape, dtype in inputs)]
        return tf.function(function, input_signature=signature, autograph=False).get_concrete_function()


def sampling_cost(spec: GanSpec) -> int:
    """Returns the multiply-adds of one image."""
    tf, networks = keras.tf, spec.networks
    weights = [tf.constant(a) for a in spec.generator_template]
    noise, label = tf.TensorSpec([1, networks.noise]), tf.TensorSpec([1], tf.int32)
    return traced(lambda z, labels: networks.generate(weights, z, labels), noise, label).multiply_adds


def training_cost(spec: GanSpec) -> int:
    """Returns the multiply-adds of a training step on one real example: both losses, both gradients. Not a guide's."""
    tf, networks = keras.tf, spec.networks
    generator, discriminator = (
        [tf.Variable(a) for a in arrays] for arrays in (spec.generator_template, spec.discriminator_template)
    )

    def step(real: Any, z: Any, labels: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            fake = networks.generate(generator, z, labels)
            generator_loss = networks.generator_loss(discriminator, fake, labels)
            discriminator_loss = networks.discriminator_loss(discriminator, real, tf.stop_gradient(fake), labels)
        gradients = tape.gradient(generator_loss, generator), tape.gradient(discriminator_loss, discriminator)
        return generator_loss, discriminator_loss, gradients

    return traced(
        step, tf.TensorSpec([1, *spec.input_shape]), tf.TensorSpec([1, networks.noise]), tf.TensorSpec([1], tf.int32)
    ).multiply_adds


def balanced_labels(n: int, classes: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Returns n shuffled labels of which every class has n / classes, rounded up or down."""
    return rng.permutation(np.arange(n) % classes).astype(np.int32)

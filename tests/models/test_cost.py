"""Multiply-adds, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np

from fedcompress import keras
from fedcompress.compression.none import NoCompression
from fedcompress.data.federated import Examples
from fedcompress.gan.spec import GanSpec
from fedcompress.gan.training import sample, train
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.cost import multiply_adds
from fedcompress.models.medium_cnn import MediumCNN
from fedcompress.scenario import TrainingSettings
from fedcompress.training.trainer import Trainer
from fedcompress.training.work import counted

FORWARD = 14 * 14 * 9 * 8 + 7 * 7 * 9 * 8 * 16 + 4 * 4 * 9 * 16 * 16 + 256 * 10
"""medium-cnn on 28 x 28 pixels: 3 x 3 convolutions of 8, 16 and 16 channels, each of which halves, and its head."""
TRAINING = 3 * FORWARD - 14 * 14 * 9 * 8
"""The gradients of the kernels cost a forward pass, those of the inputs another; nobody needs those of the images."""


def test_a_convolutional_network() -> None:
    model = ModelSpec("medium-cnn", MediumCNN(), (28, 28, 1), 10).build()
    assert multiply_adds(model) == FORWARD == 109_984
    assert multiply_adds(model, training=True) == TRAINING


def test_other_layers() -> None:
    """Depthwise 3 x 3 on 8 x 8 x 2; pointwise to 4; transposed 2 x 2 to 16 x 16 x 3; a dense layer of 5."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.SeparableConv2D(4, 3, padding="same", input_shape=(8, 8, 2)),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(3, 2, strides=2),
            layers.Flatten(),
            layers.Dense(5, trainable=False),
        ]
    )
    depthwise, pointwise, transposed, dense = 64 * 2 * 9, 64 * 2 * 4, 64 * 4 * 4 * 3, 16 * 16 * 3 * 5
    forward = depthwise + pointwise + transposed + dense
    assert multiply_adds(model) == forward
    # Backward: inputs and kernels, but not the image, nor the kernel that is not trained.
    assert multiply_adds(model, training=True) == 3 * forward - depthwise - dense


def test_what_a_client_computes_is_counted_where_it_happens() -> None:
    spec = ModelSpec("medium-cnn", MediumCNN(), (28, 28, 1), 10)
    compression = NoCompression(NoCompression.Params(), sparsity=0.0, rounds=1)
    trainer = Trainer(spec, compression, TrainingSettings(epochs=2), 1, lambda _: np.random.default_rng(1))
    rng = np.random.default_rng(1)
    examples = Examples(rng.random((10, 28, 28, 1), np.float32), np.zeros(10, np.int32))
    weights = spec.initial(rng)
    trainer.predict(weights, examples.x)  # nobody counts
    with counted() as outer:
        trainer.fit(weights, examples)
        with counted() as inner:
            trainer.predict(weights, examples.x)
    assert outer.multiply_adds == 2 * 10 * TRAINING
    assert inner.multiply_adds == 10 * FORWARD


def test_a_gan_is_counted_too() -> None:
    """Its generator on 8 x 8 pixels: dense 33 or 42 -> 2 x 2 x 24, 4 x 4 to 4 x 4 x 48, styles, 3 x 3 to 4."""
    spec = GanSpec("compact", (8, 8, 1), 10)
    rng = np.random.default_rng(1)
    gan = spec.initial(rng)
    with counted() as sampling:
        sample(spec, gan.generator, np.arange(7, dtype=np.int32) % 10, rng)
    generator = (32 + 10) * 2 * 2 * 24 + 2 * 2 * 24 * 4 * 4 * 48 + 10 * 96 + 4 * 4 * 9 * 48 * 4
    assert sampling.multiply_adds == 7 * generator
    examples = Examples(rng.integers(0, 255, (6, 8, 8, 1)).astype(np.uint8), np.arange(6, dtype=np.int32))
    with counted() as training:
        train(spec, gan, examples, epochs=3, batch_size=3, rng=rng)
    first, second, third = 4 * 4 * 9 * 4 * 32, 2 * 2 * 16 * 32 * 48, 1 * 9 * 48 * 64
    discriminator = first + second + third + 64 * 11
    # The generator: forward, kernels, inputs (not those of the noise and the classes). The discriminator on two images:
    # forward, kernels, inputs (not the images). Once more for the generator's loss: forward, and all inputs.
    noise = (32 + 10) * 2 * 2 * 24 + 10 * 96
    expected = 3 * generator - noise + 2 * (3 * discriminator - first) + 2 * discriminator
    assert training.multiply_adds == 3 * 6 * expected

"""Multiply-adds, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression.kinds.none import NoCompression
from fedcompress.compression.size import measure
from fedcompress.data.federated import Examples
from fedcompress.generators.sampling import sample
from fedcompress.generators.spec import GanSpec
from fedcompress.generators.training import train
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.medium_cnn import MediumCNN
from fedcompress.models.cost import UncountedError, cost, multiply_adds
from fedcompress.scenario.sections import TrainingSettings
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


def chain(shape: tuple[int, ...], *layers: str) -> Any:
    """Returns a chain of layers, each as it is made with `keras.layers` as L."""
    made = [eval(layer, {"L": keras.layers, "keras": keras}) for layer in layers]
    return keras.Sequential([keras.Input(shape), *made])


def backbone_twice() -> Any:
    """One nested convolution of 3 x 3 to 2 channels, on two halves of a picture of 8 x 8."""
    inner = chain((4, 8, 1), "L.Conv2D(2, 3, padding='same')", "L.ReLU()")
    inputs = keras.Input((8, 8, 1))
    halves = [inner(inputs[:, :4]), inner(inputs[:, 4:])]
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Concatenate()(halves))))


def shared_dense() -> Any:
    """The same 5 x 5 layer three times, then a head of 2."""
    inputs, layer = keras.Input((5,)), keras.layers.Dense(5)
    return keras.Model(inputs, keras.layers.Dense(2)(layer(layer(layer(inputs)))))


def attention() -> Any:
    """Self-attention on 5 places of 3 features, 2 heads of 4, then 2 from each place."""
    inputs = keras.Input((5, 3))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.MultiHeadAttention(2, 4)(inputs, inputs)))


def halved(model: Any) -> Any:
    """Sets every other weight of each kernel to zero."""
    model.set_weights([_halved(w) if w.ndim > 1 else w for w in model.get_weights()])
    return model


def _halved(array: np.ndarray) -> np.ndarray:
    kept = (np.arange(array.size) % 2 == 0).reshape(array.shape)
    return np.where(kept, 1.0, 0.0)


BY_HAND: list[tuple[str, Callable[[], Any], int]] = [
    # 2 halves, each 4 * 8 places of 9 weights and 2 channels; 8 * 4 * 4 values to 3.
    ("nested, twice", backbone_twice, 2 * 32 * 9 * 2 + 128 * 3),
    ("shared", shared_dense, 3 * 25 + 10),
    # 4 x 4 places: 9 weights for each of 2 channels, then 2 to 6.
    (
        "separable, strided",
        lambda: chain((8, 8, 2), "L.SeparableConv2D(6, 3, strides=2, padding='same')"),
        16 * 9 * 2 + 16 * 2 * 6,
    ),
    # 9 - 2 * 2 = 5 places each way.
    ("depthwise, dilated", lambda: chain((9, 9, 2), "L.DepthwiseConv2D(3, dilation_rate=2)"), 25 * 9 * 2),
    # Padded to the same 7 x 7, which the dilation divides unevenly.
    ("dilated, padded", lambda: chain((7, 7, 1), "L.Conv2D(4, 3, dilation_rate=2, padding='same')"), 49 * 9 * 4),
    # 2 groups: each of 6 filters sees 2 of 4 channels.
    ("grouped", lambda: chain((5, 5, 4), "L.Conv2D(6, 3, groups=2)"), 9 * 9 * 2 * 6),
    # (10 - 3) // 2 + 1 = 4 places.
    ("one dimension", lambda: chain((10, 2), "L.Conv1D(5, 3, strides=2)"), 4 * 3 * 2 * 5),
    ("three dimensions", lambda: chain((4, 4, 4, 2), "L.Conv3D(3, 2)"), 27 * 8 * 2 * 3),
    # Each of 3 x 3 places that go in meets 2 x 2 weights and 4 channels.
    ("transposed", lambda: chain((3, 3, 2), "L.Conv2DTranspose(4, 2, strides=2)"), 9 * 2 * 4 * 4),
    # 7 steps: 3 inputs and 4 states to 4 gates of 4.
    ("lstm", lambda: chain((7, 3), "L.LSTM(4)"), 7 * (3 + 4) * 16),
    # 7 steps, 3 gates of 5; all steps go out, and on to 2.
    (
        "gru",
        lambda: chain((7, 3), "L.GRU(5, return_sequences=True)", "L.TimeDistributed(L.Dense(2))"),
        7 * (3 + 5) * 15 + 7 * 5 * 2,
    ),
    ("both ways", lambda: chain((6, 3), "L.Bidirectional(L.SimpleRNN(4))"), 2 * 6 * (3 + 4) * 4),
    ("embedding", lambda: chain((5,), "L.Embedding(20, 4)", "L.Flatten()", "L.Dense(3)"), 20 * 3),
    # Query, key, value: 5 * 3 * 8 each. Scores and weighted values: 2 heads * 5 * 5 * 4 each. Out: 5 * 8 * 3; head.
    ("attention", attention, 3 * 120 + 2 * 200 + 120 + 5 * 3 * 2),
    ("local", lambda: chain((6, 2), "L.LocallyConnected1D(3, 2)"), 5 * 4 * 3),
]


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in BY_HAND], ids=[case[0] for case in BY_HAND])
def test_by_hand(make: Callable[[], Any], expected: int) -> None:
    """Where no weight is zero, both figures are the same; of half the weights, they are half, attention's own apart."""
    model = make()
    model.set_weights([np.ones(w.shape) for w in model.get_weights()])
    assert (cost(model).multiply_adds, cost(model).nonzero) == (expected, expected)
    products = 400 if "multi_head_attention" in {layer.name.rstrip("_0123456789") for layer in model.layers} else 0
    half = cost(halved(model))
    assert half.multiply_adds == expected
    assert half.nonzero - products == pytest.approx((expected - products) / 2, rel=0.15)


def test_zeros_of_a_nested_model_by_hand() -> None:
    """One of the 18 weights of the backbone is left, at 32 places of two halves; 2 of the head's 384."""
    model = backbone_twice()
    kernel, bias, head, offset = (np.zeros(w.shape) for w in model.get_weights())
    kernel.flat[0] = head.flat[0] = head.flat[5] = 1.0
    model.set_weights([kernel, bias, head, offset])
    assert cost(model).nonzero == 64 + 2
    assert measure(model).multiply_adds_nonzero == 66


def test_training_of_a_recurrent_network() -> None:
    """Three times a forward pass, but for the gradients of what goes in, and of the state that it begins with."""
    model = chain((7, 3), "L.LSTM(4)", "L.Dense(2)")
    assert multiply_adds(model, training=True) == 3 * (7 * 7 * 16 + 8) - 7 * 3 * 16 - 4 * 16


def test_a_convolutional_lstm() -> None:
    """Three pictures of 6 x 6: input 3 x 3 to 4 x 4, state 3 x 3 padded, each to 4 gates of 2. Keras makes the first
    state by a convolution to 2 channels with zeros, which is work without a weight.
    """
    model = chain((3, 6, 6, 1), "L.ConvLSTM2D(2, 3)")
    model.set_weights([np.ones(w.shape) for w in model.get_weights()])
    steps = 3 * 16 * 9 * (1 + 2) * 8
    assert (cost(model).multiply_adds, cost(model).nonzero) == (steps + 16 * 9 * 2, steps)


def test_what_cannot_be_counted_is_not_known() -> None:
    """A product with a sparse matrix: neither figure is given."""
    tf = keras.tf

    class Sparse(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return tf.sparse.sparse_dense_matmul(tf.sparse.from_dense(x), tf.eye(3))

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(Sparse()(inputs)))
    with pytest.raises(UncountedError, match="multiply-adds are not known: the model computes with SparseTensorDenseM"):
        cost(model)
    size = measure(model)
    assert (size.multiply_adds, size.multiply_adds_nonzero) == (None, None)


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

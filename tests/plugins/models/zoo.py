"""zoo: small models of what draws random numbers, initial weights or in training; "zoo:lstm" is one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fedcompress import keras
from fedcompress.models.architecture import Architecture


def depthwise(x: Any) -> Any:
    return keras.layers.DepthwiseConv2D(3, depth_multiplier=4, activation="relu")(x)


def separable(x: Any) -> Any:
    return keras.layers.SeparableConv2D(4, 3, activation="relu")(x)


def rows(x: Any) -> Any:
    """Returns images of 8 x 8 as sequences of 8 rows."""
    return keras.layers.Reshape((8, 8))(x)


def lstm(x: Any) -> Any:
    return keras.layers.LSTM(6)(rows(x))


def gru(x: Any) -> Any:
    return keras.layers.GRU(6)(rows(x))


def embedding(x: Any) -> Any:
    tokens = keras.layers.Flatten()(keras.layers.Rescaling(15.0)(x))
    return keras.layers.Embedding(16, 3)(tokens)


def nested(x: Any) -> Any:
    inputs = keras.Input(x.shape[1:])
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="relu")(inputs))(x)


def sequential(x: Any) -> Any:
    inner = keras.Sequential([keras.layers.Dense(12, bias_initializer="random_normal"), keras.layers.ReLU()])
    return keras.Sequential([keras.layers.Flatten(), inner, keras.layers.Dropout(0.2)])(x)


def dropout(x: Any) -> Any:
    return keras.layers.Dropout(0.3)(keras.layers.Dense(12, activation="relu")(keras.layers.Flatten()(x)))


def spatial_dropout(x: Any) -> Any:
    return keras.layers.SpatialDropout2D(0.3)(keras.layers.Conv2D(4, 3, activation="relu")(x))


def noise(x: Any) -> Any:
    for layer in (keras.layers.GaussianNoise(0.1), keras.layers.GaussianDropout(0.1), keras.layers.AlphaDropout(0.1)):
        x = layer(x)
    return x


def augmentation(x: Any) -> Any:
    layers = keras.layers
    for layer in (
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomZoom(0.1),
        layers.RandomContrast(0.1),
        layers.RandomCrop(7, 7),
        layers.RandomBrightness(0.1, value_range=(0, 1)),
    ):
        x = layer(x)
    return x


def recurrent_dropout(x: Any) -> Any:
    cells = [keras.layers.SimpleRNNCell(4, dropout=0.2), keras.layers.GRUCell(4, recurrent_dropout=0.2)]
    return keras.layers.RNN(cells)(rows(x))


def bidirectional(x: Any) -> Any:
    return keras.layers.Bidirectional(keras.layers.SimpleRNN(4, dropout=0.2))(rows(x))


def attention(x: Any) -> Any:
    x = rows(x)
    return keras.layers.MultiHeadAttention(2, 3, dropout=0.2)(x, x)


def distributed(x: Any) -> Any:
    inner = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dropout(0.2)])
    return keras.layers.TimeDistributed(inner)(rows(x))


def twice(x: Any) -> Any:
    """Two layers that are used twice."""
    both = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.2)])
    return both(both(rows(x)))


def normalised(x: Any) -> Any:
    """Batch normalisation with initial scales that are drawn, and a kernel behind its spectral norm."""
    x = keras.layers.SpectralNormalization(keras.layers.Conv2D(4, 3, activation="relu"))(x)
    return keras.layers.BatchNormalization(gamma_initializer=keras.initializers.RandomUniform(0.5, 1.5))(x)


def own(x: Any) -> Any:
    """A layer of one's own, with initializers that are functions and a generator to draw from in training."""
    tf = keras.tf

    class Own(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.generator = tf.random.Generator.from_non_deterministic_state()

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight("scale", (shape[-1],), initializer=lambda s, dtype=None: tf.random.normal(s))
            self.shift = tf.Variable(np.random.normal(size=shape[-1]).astype(np.float32))

        def call(self, inputs: Any, training: Any = None) -> Any:
            x = self.scale * inputs + self.shift
            return x + self.generator.normal(tf.shape(x), stddev=0.1) if training else x

    return Own()(keras.layers.Flatten()(x))


MODELS: dict[str, Callable[[Any], Any]] = {
    made.__name__.replace("_", "-"): made
    for made in (
        *(depthwise, separable, lstm, gru, embedding, nested, sequential, dropout, spatial_dropout, noise),
        *(augmentation, recurrent_dropout, bidirectional, attention, distributed, twice, normalised, own),
    )
}


class Zoo(Architecture):
    """One of `MODELS`."""

    argument_name: ClassVar[str] = "MODEL"

    def __init__(self, argument: str = "dropout") -> None:
        self.argument = argument

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.argument

    def features(self, inputs: Any) -> Any:
        return keras.layers.Flatten()(MODELS[self.argument](inputs))

"""Channels of real Keras models: what feeds what, and smaller models with the same outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression import masks as masking
from fedcompress.errors import InputError
from fedcompress.models import channels
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.architectures.big_cnn import BigCNN
from fedcompress.models.architectures.lenet5 import LeNet5
from fedcompress.models.architectures.medium_cnn import MediumCNN
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.models.architectures.mlp import MLP
from fedcompress.models.architectures.small_cnn import SmallCNN
from fedcompress.training.trainer import predict


class Normalised(Architecture):
    """Batch normalisation between convolution and ReLU, and after a dense layer."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(5, 3, use_bias=False)(inputs)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
        x = keras.layers.Flatten()(x)
        x = keras.layers.Dense(7, activation="relu")(x)
        return keras.layers.BatchNormalization()(x)


class Pooled(Architecture):
    """Ends in global pooling."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(6, 3, strides=2, activation="relu")(inputs)
        return keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.1)(x))


class Residual(Architecture):
    """Two branches that are added."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
        x = keras.layers.Add(name="sum")([x, keras.layers.Conv2D(4, 3, padding="same")(x)])
        return keras.layers.Flatten()(x)


class Depthwise(Architecture):
    """A convolution whose channels are tied to those before it."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(4, 3)(inputs)
        return keras.layers.Flatten()(keras.layers.DepthwiseConv2D(3, name="depth")(x))


def spec_of(architecture: Architecture, shape: tuple[int, ...] = (28, 28, 1)) -> ModelSpec:
    return ModelSpec(type(architecture).__name__, architecture, shape, 10)


def random_weights(spec: ModelSpec, rng: np.random.Generator) -> list[np.ndarray]:
    """Also for what starts as zero or one: a bias that is not removed with its channel would show."""
    return [(np.abs(rng.normal(size=a.shape)) * 0.3 + 0.05).astype(np.float32) for a in spec.template]


def test_lenet5() -> None:
    """226 units; the first dense layer reads 16 maps of 5 x 5."""
    layers = spec_of(LeNet5()).channels
    assert [layer.channels for layer in layers] == [6, 16, 120, 84, 10]
    assert [layer.repeats for layer in layers] == [1, 1, 25, 1, 1]
    assert [(layer.kernel, layer.vectors) for layer in layers] == [
        (0, (1,)),
        (2, (3,)),
        (4, (5,)),
        (6, (7,)),
        (8, (9,)),
    ]


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [(a(), (28, 28, 1)) for a in (LeNet5, MiniCNN, SmallCNN, MediumCNN, BigCNN, MLP, Normalised, Pooled)]
    + [(BigCNN(), (32, 32, 3)), (MLP(), (30,))],
    ids=lambda item: type(item).__name__,
)
def test_the_smaller_model_has_the_outputs_of_the_masked_one(architecture: Architecture, shape: Any) -> None:
    spec = spec_of(architecture, shape)
    rng = np.random.default_rng(1)
    kept = [rng.permutation(layer.channels) < max(1, 0.4 * layer.channels) for layer in spec.channels[:-1]]
    weights = random_weights(spec, rng)
    masked = masking.apply(weights, channels.masks_of(spec, kept), spec.prunable)
    small, sliced = channels.shrunk(spec, masked)
    assert [a.shape for a in sliced] == [a.shape for a in small.template]
    assert [layer.channels for layer in small.channels[:-1]] == [int(k.sum()) for k in kept]
    assert small.parameters < 0.6 * spec.parameters
    x = rng.random((8, *shape), np.float32)
    expected = predict(spec, masked, x)
    assert expected.std() > 0.01
    np.testing.assert_allclose(predict(small, sliced, x), expected, rtol=1e-4, atol=1e-4)


def test_an_emptied_layer_keeps_one_channel_that_does_nothing() -> None:
    spec = spec_of(MiniCNN())
    kept = channels.whole(spec.channels)
    kept[0][:] = False
    weights = random_weights(spec, np.random.default_rng(1))
    masked = masking.apply(weights, channels.masks_of(spec, kept), spec.prunable)
    small, sliced = channels.shrunk(spec, masked)
    assert small.channels[0].channels == 1
    x = np.random.default_rng(2).random((3, 28, 28, 1), np.float32)
    np.testing.assert_allclose(predict(small, sliced, x), predict(spec, masked, x), rtol=1e-5)


def test_masks_and_channels_are_two_ways_to_say_the_same() -> None:
    spec = spec_of(LeNet5())
    rng = np.random.default_rng(3)
    kept = [rng.random(layer.channels) < 0.5 for layer in spec.channels[:-1]]
    back = channels.kept_of(spec, channels.masks_of(spec, kept))
    assert all(np.array_equal(a, b) for a, b in zip(back, kept, strict=True))
    assert channels.masks_of(spec, kept)[0].sum() == 25 * kept[0].sum()
    assert channels.masks_of(spec, kept)[2].sum() == 25 * kept[1].sum() * kept[2].sum()


@pytest.mark.parametrize(
    ("architecture", "name"), [(Residual(), "'sum' (Add)"), (Depthwise(), "'depth' (DepthwiseConv2D)")]
)
def test_what_cannot_be_followed_is_named(architecture: Architecture, name: str) -> None:
    with pytest.raises(InputError) as error:
        spec_of(architecture).channels  # noqa: B018
    assert "channels cannot be pruned" in str(error.value)
    assert name.split()[0] in str(error.value) or "branches" in str(error.value)
    assert "Conv2D, Dense" in str(error.value)

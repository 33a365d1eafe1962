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
from fedcompress.models.architectures.resnet_8 import ResNet8
from fedcompress.models.architectures.small_cnn import SmallCNN
from fedcompress.models.ties import readers
from fedcompress.plugins import Plugins
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
    """Two branches that are added, after another that is flattened."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
        y = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(x)
        x = keras.layers.Add(name="sum")([x, keras.layers.Conv2D(4, 3, padding="same")(y)])
        return keras.layers.Dense(5, activation="relu")(keras.layers.Flatten()(x))


class Depthwise(Architecture):
    """A convolution whose channels are those before it."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(4, 3)(inputs)
        return keras.layers.Flatten()(keras.layers.DepthwiseConv2D(3, name="depth")(x))


class Multiplied(Architecture):
    """A depthwise convolution that makes two channels of each."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(4, 3)(inputs)
        return keras.layers.Flatten()(keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="two")(x))


class Joined(Architecture):
    """Two branches side by side."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
        x = keras.layers.Concatenate(name="beside")([x, keras.layers.Conv2D(4, 3, padding="same")(x)])
        return keras.layers.Flatten()(x)


class AddedToInputs(Architecture):
    """A branch that is added to the examples."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(inputs.shape[-1], 3, padding="same")(inputs)
        return keras.layers.Flatten()(keras.layers.Add(name="onto")([inputs, x]))


class Between(Architecture):
    """A layer between two convolutions."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.name, self.settings = name, settings

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.name, str(self.settings)

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Rescaling([1.0] * inputs.shape[-1], 0.5)(inputs)  # each of the model's inputs stays
        x = keras.layers.Conv2D(8, 3)(x)
        x = getattr(keras.layers, self.name)(name="between", **self.settings)(x)
        return keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(x))


CONSTANT = {"class_name": "Constant", "config": {"value": [0.1, 0.2, 0.3, 0.4]}}


def spec_of(architecture: Architecture, shape: tuple[int, ...] = (28, 28, 1)) -> ModelSpec:
    return ModelSpec(type(architecture).__name__, architecture, shape, 10)


def random_weights(spec: ModelSpec, rng: np.random.Generator) -> list[np.ndarray]:
    """Also for what starts as zero or one: a bias that is not removed with its channel would show."""
    return [(np.abs(rng.normal(size=a.shape)) * 0.3 + 0.05).astype(np.float32) for a in spec.template]


def test_lenet5() -> None:
    """226 units; the first dense layer reads 16 maps of 5 x 5."""
    layers = spec_of(LeNet5()).channels
    assert [layer.channels for layer in layers] == [6, 16, 120, 84, 10]
    assert [[kernel.repeats for kernel in layer.kernels] for layer in layers] == [[1], [1], [25], [1], [1]]
    assert [([kernel.position for kernel in layer.kernels], layer.vectors) for layer in layers] == [
        ([0], (1,)),
        ([2], (3,)),
        ([4], (5,)),
        ([6], (7,)),
        ([8], (9,)),
    ]
    assert [layer.kernels[0].reads for layer in layers] == [None, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [(a(), (28, 28, 1)) for a in (LeNet5, MiniCNN, SmallCNN, MediumCNN, BigCNN, MLP, Normalised, Pooled)]
    + [(BigCNN(), (32, 32, 3)), (MLP(), (30,)), (Residual(), (8, 8, 1)), (Depthwise(), (8, 8, 3))],
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


def test_channels_that_are_added_are_one_set() -> None:
    """The second convolution reads the first's four channels, the third makes four that are added to them."""
    first, second, dense, head = spec_of(Residual(), (8, 8, 1)).channels
    assert [(k.layer, k.reads, k.repeats) for k in first.kernels] == [("conv2d", None, 1), ("conv2d_2", 1, 1)]
    assert (first.channels, first.vectors, first.flattened) == (4, (1, 5), ("flatten",))
    assert [(k.layer, k.reads, k.repeats) for k in (*second.kernels, *dense.kernels, *head.kernels)] == [
        ("conv2d_1", 0, 1),
        ("dense", 0, 64),
        ("head", 2, 1),
    ]


@pytest.mark.parametrize(
    ("name", "sets"),
    [("resnet-8:batch", 6), ("resnet-8:group", 6), ("mobilenet-v2:0.1", 23)],
)
def test_branches_lose_the_same_channels(name: str, sets: int) -> None:
    """Half of the units of each set, and the masked network says what the smaller one says, normalised or not."""
    spec = ModelSpec(name, Plugins().architecture(name), (8, 8, 3), 10)
    rng = np.random.default_rng(1)
    kept = [np.repeat(rng.permutation(t.units) < max(1, t.units // 2), t.unit) for t in spec.channels[:-1]]
    assert len(kept) == sets
    assert {t.unit for t in spec.channels[:-1]} == ({1} if spec.name.endswith("batch") else {4})
    masks = channels.masks_of(spec, kept)
    assert all(np.array_equal(a, b) for a, b in zip(channels.kept_of(spec, masks), kept, strict=True))
    masked = masking.restrict(random_weights(spec, rng), channels.held(spec, masks))
    small, sliced = channels.shrunk(spec, masked)
    assert [a.shape for a in sliced] == [a.shape for a in small.template]
    assert [t.channels for t in small.channels[:-1]] == [int(k.sum()) for k in kept]
    assert small.parameters < 0.35 * spec.parameters
    x = rng.random((5, 8, 8, 3), np.float32)
    expected = predict(spec, masked, x)
    assert expected.std() > 0.1
    np.testing.assert_allclose(predict(small, sliced, x), expected, rtol=1e-5, atol=1e-5)


def test_a_group_that_is_normalised_together_goes_as_a_whole() -> None:
    """Of four channels that share a mean, three that nothing reads stay because of the fourth."""
    spec = ModelSpec("resnet-8", ResNet8(), (8, 8, 1), 10)
    weights = random_weights(spec, np.random.default_rng(0))
    (reader,) = readers(spec.channels, 1)
    weights[reader.position][:, :, :7] = 0
    small, sliced = channels.shrunk(spec, weights)
    assert [t.channels for t in small.channels] == [16, 12, 32, 32, 64, 64, 10]
    x = np.random.default_rng(2).random((3, 8, 8, 1), np.float32)
    np.testing.assert_allclose(predict(small, sliced, x), predict(spec, weights, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *(("GroupNormalization", {"groups": 4, "scale": s, "center": c}) for s in (True, False) for c in (True, False)),
        ("GroupNormalization", {"groups": -1, "scale": False}),
        *(("BatchNormalization", {"scale": s, "center": not s}) for s in (True, False)),
        ("Rescaling", {"scale": [2.0], "offset": 0.5}),
        ("Dropout", {"rate": 0.1, "noise_shape": (None, 1, 1, 1)}),
    ],
)
def test_a_layer_between_that_fits_any_number_of_channels(name: str, settings: dict[str, Any]) -> None:
    spec = spec_of(Between(name, **settings), (8, 8, 3))
    rng = np.random.default_rng(1)
    weights = random_weights(spec, rng)
    masked = masking.apply(weights, channels.masks_of(spec, [np.arange(8) < 4, np.arange(4) < 3]), spec.prunable)
    small, sliced = channels.shrunk(spec, masked)
    assert [layer.channels for layer in small.channels[:-1]] == [4, 3]
    x = rng.random((5, 8, 8, 3), np.float32)
    np.testing.assert_allclose(predict(small, sliced, x), predict(spec, masked, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "problem"),
    [
        (Between("Rescaling", scale=[2.0] * 8), "'between' (Rescaling) fits 8 channels alone, by its scale"),
        (Between("Rescaling", scale=1.0, offset=[0.5] * 8), "(Rescaling) fits 8 channels alone, by its offset"),
        (
            Between("Dropout", rate=0.1, noise_shape=(None, 1, 1, 8)),
            "(Dropout) fits 8 channels alone, by its noise_shape",
        ),
        (
            Between("Conv2D", filters=4, kernel_size=1, bias_initializer=CONSTANT),
            "'between' (Conv2D) fits 4 channels alone, by its bias_initializer",
        ),
        (Between("PReLU", shared_axes=[1, 2]), "'between' (PReLU) has no channels that could be followed"),
        (Between("LayerNormalization"), "'between' (LayerNormalization) has no channels that could be followed"),
        (Joined(), "'beside' (Concatenate) has no channels that could be followed"),
        (Multiplied(), "'two' (DepthwiseConv2D) makes several channels of one"),
        (AddedToInputs(), "'onto' (Add) adds to the model's inputs, whose channels stay"),
    ],
)
def test_what_cannot_be_followed_is_named(architecture: Architecture, problem: str) -> None:
    with pytest.raises(InputError) as error:
        spec_of(architecture).channels  # noqa: B018
    assert "channels cannot be pruned" in str(error.value)
    assert problem in str(error.value)
    assert "Conv2D, Dense" in str(error.value)

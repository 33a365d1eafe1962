"""Architectures: sizes that are known by arithmetic, logits out, and a head that comes off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.plugins import Plugins


def spec(name: str, shape: tuple[int, ...] = (28, 28, 1), classes: int = 10) -> ModelSpec:
    return ModelSpec(name, Plugins().load("models", name)(), shape, classes)


@pytest.mark.parametrize(
    ("name", "parameters", "features"),
    [
        ("mini-cnn", 40 + 148 + 1970, 196),
        ("small-cnn", 80 + 584 + 3930, 392),
        ("medium-cnn", 80 + 1168 + 2320 + 2570, 256),
        ("big-cnn", 320 + 9248 + 9248 + 5130, 512),
        ("lenet5", 156 + 2416 + 48120 + 10164 + 850, 84),
        ("mlp", 78500 + 5050 + 1020 + 210, 20),
    ],
)
def test_sizes(name: str, parameters: int, features: int) -> None:
    """Layer by layer, (k k c_in + 1) c_out for convolutions and (in + 1) out for dense layers."""
    model = spec(name)
    assert model.parameters == parameters
    assert model.features == features
    assert model.template[model.head[0]].shape == (features, 10)


@pytest.mark.parametrize("name", ["mini-cnn", "small-cnn", "medium-cnn", "big-cnn", "lenet5", "mlp"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_logits_are_features_through_the_head(name: str, shape: tuple[int, ...]) -> None:
    model_spec = spec(name, shape, classes=3)
    model = model_spec.build()
    weights = model_spec.initial(np.random.default_rng(1))
    model.set_weights(weights)
    x = np.random.default_rng(0).random((4, *shape), np.float32)
    features = model_spec.feature_extractor(model)(x).numpy()
    kernel, bias = (weights[i] for i in model_spec.head)
    logits = model(x).numpy()
    np.testing.assert_allclose(features @ kernel + bias, logits, rtol=1e-4, atol=1e-5)
    assert logits.sum(axis=1) != pytest.approx(np.ones(4), abs=1e-3)


def test_encoder_and_head_are_all_of_the_weights() -> None:
    """mini-cnn: 188 weights in its encoder, 197 * 10 in its head; frozen, the head is of no kernel that is pruned."""
    model = spec("mini-cnn")
    weights = model.initial(np.random.default_rng(1))
    encoder, head = model.encoder_of(weights), model.head_of(weights)
    assert [sum(a.size for a in part) for part in (encoder, head)] == [188, 1970]
    assert all(one is other for one, other in zip([*encoder, *head], weights, strict=True))
    frozen = model.with_frozen_head()
    assert (model.prunable, frozen.prunable, frozen.name) == ((0, 2, 4), (0, 2), "mini-cnn")
    assert frozen.key != model.key


def test_initial_weights_are_seeded_and_glorot_uniform() -> None:
    """Glorot & Bengio 2010: uniform within sqrt(6 / (fan_in + fan_out)) = sqrt(6 / 266) for the head; biases zero."""
    model = spec("medium-cnn")
    one, same, other = (model.initial(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])
    head = one[model.head[0]]
    assert np.sqrt(6 / 266) * 0.98 < np.abs(head).max() <= np.sqrt(6 / 266)
    assert not one[model.head[1]].any()


def test_kernels_are_prunable_and_nothing_else() -> None:
    model = spec("lenet5")
    assert model.prunable == (0, 2, 4, 6, 8)
    assert all(model.template[i].ndim > 1 for i in model.prunable)


def test_names_of_layers_do_not_depend_on_what_was_built_before() -> None:
    names = [[layer.name for layer in spec("small-cnn").build().layers] for _ in range(2)]
    assert names[0] == names[1]
    assert keras.LOCK is not None


def counting(layers: Any, x: Any) -> Any:
    class Counting(layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.calls = self.add_weight(name="calls", dtype="int32", trainable=False, initializer="zeros")
            self.seen = keras.tf.Variable(False, name="seen", trainable=False)

        def call(self, inputs: Any) -> Any:
            return inputs

    return Counting()(x)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda layers, x: layers.Normalization()(x), r"normalization/count \(int64\)"),
        (lambda layers, x: keras.models.Sequential([layers.Normalization(name="inner")])(x), r"inner/count \(int64\)"),
        (counting, r"counting/calls \(int32\), counting/seen \(bool\)"),
    ],
)
def test_weights_that_cannot_be_averaged_are_refused(make: Callable[..., Any], named: str) -> None:
    """The counter of a preprocessing layer, which every client's training failed on."""

    class Made(Architecture):
        def features(self, inputs: Any) -> Any:
            return keras.layers.Flatten()(make(keras.layers, inputs))

    spec = ModelSpec("made", Made(), (8, 8, 1), 3)
    spec.check("digits")  # it can be compressed where it is
    with pytest.raises(InputError, match=named):
        spec.check_averaged()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda layers, x: layers.Dense(0, name="none")(layers.Flatten()(x)), r"'none' puts out \(None, 0\), which"),
        (lambda layers, x: layers.Dense(4)(layers.Dense(0, name="none")(layers.Flatten()(x))), r"'none' puts out"),
        (
            lambda layers, x: keras.Sequential([layers.Flatten(), layers.Dense(0, name="none"), layers.Dense(3)])(x),
            r"'none' puts out",
        ),
        (lambda layers, x: layers.Flatten()(x[:, 8:]), r"puts out \(None, 0, 8, 1\), which holds no value"),
    ],
)
def test_a_layer_without_units_is_refused(make: Callable[..., Any], named: str) -> None:
    """Training it ended the process from within TensorFlow (SIGABRT), with part of a run written."""

    class Made(Architecture):
        def features(self, inputs: Any) -> Any:
            return make(keras.layers, inputs)

    with pytest.raises(InputError, match=f"model 'made' does not fit 'digits', .*: layer .*{named}"):
        ModelSpec("made", Made(), (8, 8, 1), 3).check("digits")


def test_weights_that_hold_nothing_are_refused() -> None:
    class Empty(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, shape: Any) -> None:
            self.none = self.add_weight("none", (3, 0))

        def call(self, inputs: Any) -> Any:
            return inputs

    class Made(Architecture):
        def features(self, inputs: Any) -> Any:
            return keras.layers.Flatten()(Empty()(inputs))

    with pytest.raises(InputError, match=r"weight '.*none:0' has the shape \(3, 0\), which holds no value"):
        ModelSpec("made", Made(), (8, 8, 1), 3).check("digits")

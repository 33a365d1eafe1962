"""The small networks, layer by layer and parameter by parameter, against plain Keras definitions of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression import tflite
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.cost import multiply_adds
from fedcompress.plugins import Plugins
from fedcompress.training.trainer import predict


def conv(filters: int, activation: str | None = "relu", **more: Any) -> Any:
    return keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation=activation, **more)


def pool() -> Any:
    return keras.layers.MaxPooling2D(pool_size=2, strides=1, padding="same")


def mini() -> list[Any]:
    return [conv(4), pool(), conv(4, None), keras.layers.Flatten(), keras.layers.Dense(10)]


def small() -> list[Any]:
    return [conv(8), pool(), conv(8, None), keras.layers.Flatten(), keras.layers.Dense(10)]


def medium() -> list[Any]:
    return [conv(8), pool(), conv(16), pool(), conv(16, None), keras.layers.Flatten(), keras.layers.Dense(10)]


def big() -> list[Any]:
    return [conv(32), pool(), conv(32), pool(), conv(32, None), keras.layers.Flatten(), keras.layers.Dense(10)]


def lab() -> list[Any]:
    layers = keras.layers
    return [
        layers.Flatten(),
        *(layers.Dense(100, activation="relu"), layers.Dropout(0.1)),
        *(layers.Dense(50, activation="relu"), layers.Dropout(0.1)),
        *(layers.Dense(20, activation="relu"), layers.Dropout(0.1)),
        layers.Dense(10),
    ]


def bare() -> list[Any]:
    return [layer for layer in lab() if not isinstance(layer, keras.layers.Dropout)]


def two_layer() -> list[Any]:
    layers = keras.layers
    first = layers.Conv2D(12, 3, activation="relu")
    return [first, layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(10)]


NETWORKS: dict[str, tuple[Callable[[], list[Any]], list[int], list[tuple[int, ...]]]] = {
    "mini-cnn": (mini, [40, 148, 1970], [(14, 14, 4), (14, 14, 4), (7, 7, 4), (196,), (10,)]),
    "small-cnn": (small, [80, 584, 3930], [(14, 14, 8), (14, 14, 8), (7, 7, 8), (392,), (10,)]),
    "medium-cnn": (
        medium,
        [80, 1168, 2320, 2570],
        [(14, 14, 8), (14, 14, 8), (7, 7, 16), (7, 7, 16), (4, 4, 16), (256,), (10,)],
    ),
    "big-cnn": (
        big,
        [320, 9248, 9248, 5130],
        [(14, 14, 32), (14, 14, 32), (7, 7, 32), (7, 7, 32), (4, 4, 32), (512,), (10,)],
    ),
    "mlp:100-50-20:0.1": (
        lab,
        [78500, 5050, 1020, 210],
        [(784,), (100,), (100,), (50,), (50,), (20,), (20,), (10,)],
    ),
    "mlp": (bare, [78500, 5050, 1020, 210], [(784,), (100,), (50,), (20,), (10,)]),
    "two-layer-cnn": (two_layer, [120, 20290], [(26, 26, 12), (13, 13, 12), (2028,), (10,)]),
}
"""A plain definition of each, the parameters of its layers with weights, and the shapes of all outputs on 28x28x1."""

TOTALS = {
    "mini-cnn": 2158,
    "small-cnn": 4594,
    "medium-cnn": 6138,
    "big-cnn": 23946,
    "mlp:100-50-20:0.1": 84780,
    "mlp": 84780,
    "two-layer-cnn": 20410,
}

TOLD = ("filters", "kernel_size", "strides", "pool_size", "padding", "units", "rate", "use_bias", "data_format")


def spec(name: str, shape: tuple[int, ...] = (28, 28, 1)) -> ModelSpec:
    return ModelSpec(name, Plugins().architecture(name), shape, 10)


def told(layer: Any) -> dict[str, Any]:
    """What a layer computes: its type, its sizes, its activation and its initializers."""
    config = layer.get_config()
    found = {key: config[key] for key in TOLD if key in config}
    for key in ("kernel_initializer", "bias_initializer"):
        if key in config:
            found[key] = config[key]["class_name"]
    activation = getattr(layer, "activation", None)
    return {"type": type(layer).__name__, "activation": getattr(activation, "__name__", None), **found}


@pytest.mark.parametrize("name", NETWORKS)
def test_layer_by_layer_and_parameter_by_parameter(name: str) -> None:
    definition, parameters, shapes = NETWORKS[name]
    plain = keras.Sequential([keras.Input((28, 28, 1)), *definition()])
    model = spec(name).build()
    layers = model.layers[1:]  # the first is the input
    assert [told(layer) for layer in layers] == [told(layer) for layer in plain.layers]
    assert [tuple(layer.output.shape[1:]) for layer in layers] == shapes
    assert [layer.count_params() for layer in layers if layer.weights] == parameters
    assert [w.shape for w in model.get_weights()] == [w.shape for w in plain.get_weights()]
    assert spec(name).parameters == plain.count_params() == TOTALS[name] == sum(parameters)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3)])
def test_outputs_are_those_of_the_plain_network(name: str, shape: tuple[int, ...]) -> None:
    plain = keras.Sequential([keras.Input(shape), *NETWORKS[name][0]()])
    model = spec(name, shape)
    weights = [
        a + 0.05 * np.random.default_rng(3).normal(size=a.shape).astype(np.float32)
        for a in model.initial(np.random.default_rng(1))
    ]
    plain.set_weights(weights)
    x = np.random.default_rng(2).random((6, *shape), np.float32)
    np.testing.assert_allclose(predict(model, weights, x), plain(x, training=False).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mini-cnn", 14 * 14 * 9 * 4 + 7 * 7 * 9 * 4 * 4 + 196 * 10),
        ("small-cnn", 14 * 14 * 9 * 8 + 7 * 7 * 9 * 8 * 8 + 392 * 10),
        ("medium-cnn", 14 * 14 * 9 * 8 + 7 * 7 * 9 * 8 * 16 + 4 * 4 * 9 * 16 * 16 + 256 * 10),
        ("big-cnn", 14 * 14 * 9 * 32 + 7 * 7 * 9 * 32 * 32 + 4 * 4 * 9 * 32 * 32 + 512 * 10),
        ("mlp:100-50-20:0.1", 78400 + 5000 + 1000 + 200),
    ],
)
def test_multiply_adds(name: str, expected: int) -> None:
    """Each weight of a convolution works once for each position of its output, which strides make a quarter."""
    assert multiply_adds(spec(name).build()) == expected


@pytest.mark.parametrize("name", ["mini-cnn", "small-cnn", "medium-cnn", "big-cnn"])
def test_features_may_be_negative(name: str) -> None:
    """The last convolution has no activation."""
    model = spec(name)
    x = np.random.default_rng(2).random((6, 28, 28, 1), np.float32)
    assert predict(model, model.initial(np.random.default_rng(1)), x, features=True).min() < -0.01


@pytest.mark.parametrize("name", ["small-cnn", "big-cnn", "mlp:20-10:0.5"])
def test_a_tflite_file_has_the_same_outputs(name: str) -> None:
    model = spec(name)
    weights = model.initial(np.random.default_rng(1))
    built = model.build()
    built.set_weights(weights)
    x = np.random.default_rng(2).random((4, 28, 28, 1), np.float32)
    outputs = tflite.predict(tflite.convert(built), x)
    np.testing.assert_allclose(outputs, predict(model, weights, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "units", "dropout"),
    [("mlp:7", (7,), 0.0), ("mlp:512-256:0.25", (512, 256), 0.25), ("mlp:5-6-7:0.999", (5, 6, 7), 0.999)],
)
def test_an_mlp_is_what_its_argument_says(name: str, units: tuple[int, ...], dropout: float) -> None:
    layers = spec(name).build().layers
    assert tuple(layer.units for layer in layers[:-1] if hasattr(layer, "units")) == units
    rates = [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == ([dropout] * len(units) if dropout else [])


def test_dropout_is_for_training_only() -> None:
    model = spec("mlp:50-50:0.5").build()
    x = np.random.default_rng(0).random((4, 28, 28, 1), np.float32)
    still = model(x, training=False).numpy()
    np.testing.assert_array_equal(still, model(x, training=False).numpy())
    assert not np.array_equal(still, model(x, training=True).numpy())


def test_two_mlps_that_differ_in_dropout_are_two_models() -> None:
    keys = {spec(name).key for name in ("mlp:9", "mlp:9:0.1", "mlp:9:0.2")}
    assert len(keys) == 3


@pytest.mark.parametrize(
    "argument", ["", "0", "9-", "9:1", "9:1.5", "9:-0.1", "9:.5", "9:x", "9:", "9:0.1:0.1", ":0.1"]
)
def test_a_wrong_argument_is_refused(argument: str) -> None:
    with pytest.raises(InputError) as error:
        Plugins().architecture(f"mlp:{argument}")
    assert str(error.value) == (
        f"model 'mlp:{argument}': expected the units of its hidden layers, as in 'mlp:100-50-20', and perhaps a "
        "fraction below 1 for dropout, as in 'mlp:100-50-20:0.1'."
    )

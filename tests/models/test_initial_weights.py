"""Initial weights: a function of the generator alone, for whatever initializer and wherever in the model."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.wire.content import Arrays
from federating import PLUGINS

FOUND = Plugins((PLUGINS,))


def spec(name: str, shape: tuple[int, ...] = (8, 8, 1)) -> ModelSpec:
    return ModelSpec(name, FOUND.architecture(name), shape, 10)


def initial(model: ModelSpec, seed: int) -> Arrays:
    return model.initial(np.random.default_rng(seed))


def equal(one: Arrays, other: Arrays) -> list[bool]:
    return [np.array_equal(a, b) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize(
    ("name", "digest", "next_draw"),
    [
        ("mini-cnn", "c9083083bcf05e11", 1926751966),
        ("lenet5", "5efa8c26dd97dfa4", 1665772335),
        ("mlp", "fc5b0446e5ee3faa", 1241873585),
        ("two-layer-cnn", "38a671a475a66eff", 1469265226),
    ],
)
def test_models_of_plain_kernels_keep_the_values_that_they_have_always_had(
    name: str, digest: str, next_draw: int
) -> None:
    """On 28 x 28 x 1, from seed 7; what the generator gives next is the same, too. Taken from version 0.1.0."""
    rng = np.random.default_rng(7)
    weights = spec(name, (28, 28, 1)).initial(rng)
    assert sha256(b"".join(a.tobytes() for a in weights)).hexdigest()[:16] == digest
    assert int(rng.integers(2**31)) == next_draw


CONSTANT = {"zoo:dropout": [1, 3], "zoo:lstm": [2, 4], "zoo:twice": [1, 3], "zoo:embedding": [2]}
"""Positions of weights whose initializer gives the same each time: biases."""


@pytest.mark.parametrize(
    "name",
    [
        *("depthwise", "separable", "lstm", "gru", "embedding", "nested", "sequential", "recurrent-dropout"),
        *("bidirectional", "attention", "distributed", "twice", "normalised", "own"),
    ],
)
def test_every_weight_that_is_drawn_follows_from_the_seed(name: str) -> None:
    """Two objects stand for two processes; weights that are not drawn are equal in every build."""
    first, again = spec(f"zoo:{name}"), spec(f"zoo:{name}")
    fixed = equal(first.build(1).get_weights(), first.build(2).get_weights())
    assert not all(fixed)
    assert all(equal(initial(first, 1), initial(again, 1)))
    assert equal(initial(first, 1), initial(first, 2)) == fixed
    if f"zoo:{name}" in CONSTANT:
        assert np.flatnonzero(fixed).tolist() == CONSTANT[f"zoo:{name}"]


def test_values_are_those_of_the_initializers() -> None:
    """Orthogonal recurrent kernels, unit forget gates (LSTM: biases of input, forget, cell, output gate)."""
    kernel, recurrent, bias, *_ = initial(spec("zoo:lstm"), 1)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(6), atol=1e-5)
    assert bias.tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12
    assert 0.9 * np.sqrt(6 / 32) < np.abs(kernel).max() <= np.sqrt(6 / 32)  # Glorot and Bengio 2010
    table = initial(spec("zoo:embedding"), 1)[0]
    assert 0.04 < np.abs(table).max() <= 0.05
    scales = initial(spec("zoo:normalised"), 1)[3]
    assert 0.5 <= scales.min() < scales.max() <= 1.5


def test_threads_do_not_disturb_each_other() -> None:
    models = [spec(f"zoo:{name}") for name in ("own", "gru", "own", "sequential")]
    expected = [initial(spec(model.name), seed) for seed, model in enumerate(models)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(initial, models, range(4)))
    for one, other in zip(expected, found, strict=True):
        assert all(equal(one, other))


def test_global_generators_go_on_as_if_nothing_had_been_built() -> None:
    tf = keras.tf
    model = spec("zoo:own")
    initial(model, 0)

    def draws(between: bool) -> list[float]:
        random.seed(1)
        np.random.seed(1)
        tf.random.set_seed(1)
        tf.random.normal([])
        if between:
            initial(model, 1)
        return [random.random(), np.random.random(), float(tf.random.normal([]))]

    assert draws(True) == draws(False)
    tf.random.set_seed(None)
    initial(model, 1)
    assert float(tf.random.normal([])) != float(tf.random.normal([]))


class Fixed(Architecture):
    """Initializers that have a seed, and one that has no generator."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Dense(3, kernel_initializer="zeros", bias_initializer=keras.initializers.HeNormal(seed=5))(
            keras.layers.Flatten()(inputs)
        )
        return keras.layers.PReLU(keras.initializers.RandomNormal(seed=5))(x)


def test_an_initializer_with_a_seed_keeps_it_and_a_constant_kernel_is_constant() -> None:
    model = ModelSpec("fixed", Fixed(), (8, 8, 1), 10)
    assert equal(initial(model, 1), initial(model, 2)) == [True, True, True, False, True]
    assert not initial(model, 1)[0].any()


class Projection(Architecture):
    """A random projection that is no weight."""

    def features(self, inputs: Any) -> Any:
        matrix = np.random.normal(size=(64, 5)).astype(np.float32)
        return keras.layers.Flatten()(inputs) @ (keras.tf.random.normal([64, 5]) + matrix)


def test_constants_are_the_same_in_every_build() -> None:
    """So that threads, workers, training and prediction have one model."""
    outputs = []
    for other in (1.0, 2.0):
        np.random.seed(int(other))
        model = ModelSpec("projection", Projection(), (8, 8, 1), 10).build()
        model.set_weights([np.ones((5, 10), np.float32), np.zeros(10, np.float32)])
        outputs.append(model(np.ones((1, 8, 8, 1), np.float32)).numpy())
    assert np.array_equal(*outputs)
    assert np.abs(outputs[0]).max() > 0


class Fresh(Architecture):
    """Scales from a generator that is seeded by the operating system."""

    def features(self, inputs: Any) -> Any:
        def scales(shape: Any, dtype: Any = None) -> Any:
            return np.random.default_rng().normal(size=shape)

        return keras.layers.PReLU(scales, name="fresh")(keras.layers.Flatten()(inputs))


def test_what_no_seed_reaches_is_refused() -> None:
    with pytest.raises(InputError) as error:
        ModelSpec("fresh", Fresh(), (8, 8, 1), 10).check("digits")
    assert str(error.value) == (
        "model 'fresh': initial weights 'fresh/alpha:0' differ each time that the model is built; expected draws by an "
        "initializer of Keras, or by `tf.random`, `np.random` or `random`."
    )


class Pretrained(Architecture):
    """A backbone of one convolution whose weights are loaded, beside one with a seed of its own."""

    def features(self, inputs: Any) -> Any:
        layer = keras.layers.Conv2D(2, 3, trainable=False)
        x = layer(inputs)
        layer.set_weights([np.arange(18, dtype=np.float32).reshape(3, 3, 1, 2), np.ones(2, np.float32)])
        return keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(seed=5))(
            keras.layers.Flatten()(x)
        )


def test_loaded_weights_stay_what_they_are() -> None:
    """A seed that an initializer names is no loaded value: with several clients or runs it would repeat itself."""
    model = ModelSpec("pretrained", Pretrained(), (8, 8, 1), 10)
    one, other = initial(model, 1), initial(model, 2)
    assert equal(one, other) == [True, True, False, True, False, True]
    assert one[0].ravel().tolist() == list(range(18))
    assert one[1].tolist() == [1.0, 1.0]

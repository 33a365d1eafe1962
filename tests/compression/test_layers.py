"""Pruning, rounding and clustering of layers of every kind: shared, nested, recurrent, attention, half precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression
from fedcompress.compression.kinds.cluster import Cluster, ClusterParams
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.kinds.quantise import Quantise, QuantiseParams
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.models.saved import SavedModel
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.loop import Trained
from fedcompress.training.trainer import Trainer, predict

SHAPE = (8, 8, 1)
AT_ONCE: dict[str, Any] = {"schedule": "constant", "begin_round": 0, "scope": "layer"}


def chain(*layers: Any, policy: str = "float32") -> Any:
    """Returns a chain of layers, made under a policy, and a head of 3."""
    keras.mixed_precision.set_global_policy(policy)
    try:
        return keras.Sequential([keras.Input(SHAPE), *(eval(layer, {"L": keras.layers}) for layer in layers)])
    finally:
        keras.mixed_precision.set_global_policy("float32")


def used_twice() -> Any:
    inputs, layer = keras.Input(SHAPE), keras.layers.Dense(64, activation="relu")
    return keras.Model(inputs, keras.layers.Dense(3)(layer(layer(keras.layers.Flatten()(inputs)))))


def nested_twice() -> Any:
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((4, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.DepthwiseConv2D(2), layers.Flatten()]
    )
    inputs = keras.Input(SHAPE)
    both = layers.Concatenate()([inner(inputs[:, :4]), inner(inputs[:, 4:])])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(both))


def attention() -> Any:
    layers = keras.layers
    inputs = keras.Input(SHAPE)
    x = layers.Reshape((8, 8))(inputs)
    x = layers.Dense(8, activation="relu")(layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


MODELS: dict[str, tuple[Callable[[], Any], int, int]] = {
    # How it is made, how many kernels are pruned, how many activations are rounded.
    "used twice": (used_twice, 2, 1),
    "nested, used twice": (nested_twice, 3, 1),
    "attention": (attention, 6, 1),
    "recurrent": (lambda: chain("L.Reshape((8, 8))", "L.LSTM(6)", "L.Dense(4, 'tanh')", "L.Dense(3)"), 4, 1),
    "both ways": (lambda: chain("L.Reshape((8, 8))", "L.Bidirectional(L.GRU(5))", "L.Dense(3)"), 5, 0),
    "separable": (
        lambda: chain("L.SeparableConv2D(4, 3, activation='relu')", "L.Flatten()", "L.Dense(3)"),
        3,
        1,
    ),
    "float16": (
        lambda: chain("L.Conv2D(4, 3, activation='relu')", "L.Flatten()", "L.Dense(3)", policy="mixed_float16"),
        2,
        1,
    ),
    "bfloat16": (lambda: chain("L.Reshape((8, 8))", "L.LSTM(6)", "L.Dense(3)", policy="mixed_bfloat16"), 3, 0),
}


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SavedModel]:
    folder, made = tmp_path_factory.mktemp("models"), {}

    def spec(name: str) -> SavedModel:
        if name not in made:
            path = folder / f"{len(made)}.keras"
            keras.utils.set_random_seed(0)
            MODELS[name][0]().save(path)
            made[name] = SavedModel(path, SHAPE, 3)
        return made[name]

    return spec


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Three classes that differ in which rows are bright."""
    rng, y = np.random.default_rng(0), np.arange(96, dtype=np.int32) % 3
    x = rng.integers(0, 60, (96, *SHAPE))
    for label in range(3):
        x[y == label, 2 * label : 2 * label + 3] += 180
    return Examples(x.astype(np.uint8), y)


def fit(spec: SavedModel, examples: Examples, compression: Compression, epochs: int = 2) -> Trained:
    settings = TrainingSettings(batch_size=16, learning_rate=0.01)
    return Trainer(spec, compression, settings, 1, lambda _: np.random.default_rng(7)).fit(
        spec.trained, examples, epochs=epochs
    )


@pytest.mark.parametrize("name", MODELS)
def test_every_kernel_is_pruned_to_the_target(
    specs: Callable[[str], SavedModel], examples: Examples, name: str
) -> None:
    spec = specs(name)
    trained = fit(spec, examples, Magnitude(MagnitudeParams(**AT_ONCE), sparsity=0.7, rounds=1))
    assert len(spec.prunable) == MODELS[name][1]
    kept = [int(np.count_nonzero(trained.weights[i])) for i in spec.prunable]
    assert kept == [masking.survivors(spec.template[i].size, 0.7) for i in spec.prunable]
    for i, mask in zip(spec.prunable, trained.masks, strict=True):
        assert not np.array_equal(trained.weights[i], np.where(mask, spec.trained[i], 0.0))  # and trained


@pytest.mark.parametrize("name", MODELS)
def test_every_kernel_is_on_a_grid_of_4_bits(
    specs: Callable[[str], SavedModel], examples: Examples, tmp_path: Path, name: str
) -> None:
    """With biases and activations; the network that is written down rounds as many activations as training did."""
    spec = specs(name)
    compression = Quantise(
        QuantiseParams(biases="uniform", activations="uniform", **AT_ONCE), sparsity=0.5, rounds=1, bits=4
    )
    trained = fit(spec, examples, compression)
    for i in (*spec.prunable, *spec.biases):
        assert len(np.unique(np.abs(trained.weights[i]))) <= 8
    assert len(trained.observed) == MODELS[name][2]
    model = spec.build()
    model.set_weights(trained.weights)
    compression.network(model, trained.observed).save(tmp_path / "own.keras")
    own = keras.models.load_model(tmp_path / "own.keras", compile=False)
    rounding = [name for name in own.get_config()["layers"] if "fake_quant" in str(name.get("config", name))]
    assert bool(rounding) == bool(trained.observed)
    x = examples.x / np.float32(255)
    apart = np.abs(own.predict(x, verbose=0) - predict(spec, trained.weights, examples.x)).max()
    assert (apart > 1e-3) == bool(trained.observed)


@pytest.mark.parametrize("name", MODELS)
def test_every_kernel_is_clustered(specs: Callable[[str], SavedModel], examples: Examples, name: str) -> None:
    spec = specs(name)
    trained = fit(spec, examples, Cluster(ClusterParams(clusters=3, **AT_ONCE), sparsity=0.5, rounds=1))
    for i, mask in zip(spec.prunable, trained.masks, strict=True):
        values = trained.weights[i]
        assert len(np.unique(values[values != 0])) <= 3
        assert np.count_nonzero(values) == mask.sum() == masking.survivors(values.size, 0.5)


def test_a_nested_network_learns_with_what_it_computes_with(
    specs: Callable[[str], SavedModel], examples: Examples
) -> None:
    """Ternary weights in every layer, and the three classes are told apart."""
    spec = specs("nested, used twice")
    ternary = Quantise(QuantiseParams(weights="ternary", **AT_ONCE), sparsity=0.0, rounds=1, bits=2)
    trained = fit(spec, examples, ternary, epochs=8)
    assert all(len(np.unique(np.abs(trained.weights[i]))) == 2 for i in spec.prunable)
    right = predict(spec, trained.weights, examples.x).argmax(axis=1) == examples.y
    assert right.mean() > 0.9


def test_a_shared_layer_is_rounded_after_each_call(specs: Callable[[str], SavedModel]) -> None:
    """One range for both calls, 0 to 1.5 in 2 bits: 0, 0.5, 1, 1.5. An identity of 1.3 gives 1.5, then 1.5 again."""
    spec = specs("used twice")
    identity = np.float32(1.3) * np.eye(64, dtype=np.float32)
    head = np.zeros((64, 3), np.float32)
    head[0, 0] = 1.0
    model = spec.build()
    model.set_weights([identity, np.zeros(64), head, np.zeros(3)])
    compression = Quantise(QuantiseParams(activations="uniform", **AT_ONCE), sparsity=0.0, rounds=1, bits=2)
    network = compression.network(model, [np.array([0.0, 1.5], np.float32)])
    x = np.full((1, *SHAPE), 0.55, np.float32)  # 0.715 becomes 0.5; 0.65 becomes 0.5
    assert network.predict(x, verbose=0)[0].tolist() == [0.5, 0.0, 0.0]
    assert model.predict(x, verbose=0)[0, 0] == pytest.approx(0.55 * 1.69)


def test_models_that_cannot_be_trained_are_refused_first(tmp_path: Path) -> None:
    layers, inputs = keras.layers, keras.Input(SHAPE)
    flat = layers.Flatten()(inputs)
    keras.Model(inputs, [layers.Dense(3)(flat), layers.Dense(3)(flat)]).save(tmp_path / "two.keras")
    with pytest.raises(InputError, match="has 1 inputs and 2 outputs; expected one of each"):
        SavedModel(tmp_path / "two.keras", SHAPE, 3)
    for dtype in ("float16", "float64"):
        half = layers.Dense(3)(layers.Dense(4, dtype=dtype)(flat))
        keras.Model(inputs, half).save(tmp_path / "half.keras")
        with pytest.raises(InputError, match=f"some of its weights are {dtype}; expected float32"):
            SavedModel(tmp_path / "half.keras", SHAPE, 3)

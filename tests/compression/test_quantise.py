"""Quantisers against numbers worked out by hand, and training with them: zeros, grids, graphs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from fedcompress import keras
from fedcompress.compression import quantisers
from fedcompress.compression.kinds.cluster import Cluster, ClusterParams, codebook, nearest
from fedcompress.compression.kinds.quantise import UNSIGNED, Quantise, QuantiseParams, rounded_activations
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.loop import Trained
from fedcompress.training.trainer import Trainer
from fedcompress.wire import symbols
from fedcompress.wire.content import Arrays
from fedcompress.wire.shipped import SHIPPED


def f32(*numbers: float) -> Any:
    return keras.tf.constant(numbers, keras.tf.float32)


def test_uniform_by_hand() -> None:
    """4 bits: 7 levels each way, scale 1.4 / 7 = 0.2."""
    got = quantisers.uniform(f32(1.4, -0.31, 0.29, 0.09, 0.0), np.float32(4)).numpy()
    assert got == pytest.approx([1.4, -0.4, 0.2, 0.0, 0.0])


def test_fixed_by_hand() -> None:
    """4 bits, one of them left of the point: -2 to 1.75 in steps of 0.25. Unsigned: 0 to 1.875 in steps of 0.125."""
    values = f32(3.0, -3.0, 0.3, -0.3, 0.1)
    signed = quantisers.fixed(values, np.float32(4), np.float32(1)).numpy()
    assert signed.tolist() == [1.75, -2.0, 0.25, -0.25, 0.0]
    unsigned = quantisers.fixed(values, np.float32(4), np.float32(1), signed=False).numpy()
    assert unsigned.tolist() == [1.875, 0.0, 0.25, 0.0, 0.125]


def test_ternary_by_hand() -> None:
    """Mean magnitude of the four that are not zero 0.5, threshold 0.35; above it 0.9 and 0.7, whose mean is 0.8."""
    got = quantisers.ternary(f32(0.9, -0.7, 0.3, -0.1, 0.0)).numpy()
    assert got == pytest.approx([0.8, -0.8, 0.0, 0.0, 0.0])
    assert quantisers.ternary(f32(*got)).numpy() == pytest.approx(got)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("low", "high"), [(0.0, 3.7), (-1.3, 2.2), (-0.5, 0.0)])
def test_affine_is_tensorflows(bits: int, low: float, high: float) -> None:
    x = np.random.default_rng(0).normal(0, 2, 1000).astype(np.float32)
    expected = keras.tf.quantization.fake_quant_with_min_max_args(x, low, high, num_bits=bits).numpy()
    got = quantisers.affine(keras.tf.constant(x), np.float32(bits), low, high).numpy()
    assert np.mean(np.abs(got - expected) > 1e-5) < 0.002  # where x lies between two levels to the last bit


def test_gradients_go_straight_through_and_stop_where_values_saturate() -> None:
    tf = keras.tf
    x = tf.Variable([0.3, 5.0, -5.0])
    for function, expected in (
        (lambda: quantisers.uniform(x, np.float32(4)), [1, 1, 1]),
        (lambda: quantisers.fixed(x, np.float32(4), np.float32(1)), [1, 0, 0]),
        (lambda: quantisers.affine(x, np.float32(4), 0.0, 4.0), [1, 0, 0]),
    ):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(function())
        assert tape.gradient(total, x).numpy().tolist() == expected


@pytest.mark.parametrize(("values", "bits"), [("int4", 4), ("int8", 8)])
def test_the_grid_is_that_of_the_wire(values: str, bits: int) -> None:
    """What was trained on the grid crosses as integers without a further loss, but for the last bit of the scale."""
    weights = np.random.default_rng(0).normal(size=500).astype(np.float32)
    rounded = quantisers.uniform(keras.tf.constant(weights), np.float32(bits)).numpy()
    sizes = np.array([500])
    np.testing.assert_allclose(symbols.quantise(rounded, sizes, SHIPPED[values])[2], rounded, rtol=3e-7)


@pytest.fixture(scope="module")
def model() -> ModelSpec:
    return ModelSpec("mini-cnn", MiniCNN(), (8, 8, 1), 3)


@pytest.fixture(scope="module")
def examples() -> Examples:
    rng = np.random.default_rng(0)
    return Examples(rng.integers(0, 256, (64, 8, 8, 1), np.uint8), rng.integers(0, 3, 64).astype(np.int32))


def fit(model: ModelSpec, examples: Examples, compression: Quantise | Cluster, start: Arrays | None = None) -> Trained:
    trainer = Trainer(model, compression, TrainingSettings(batch_size=8), 1, lambda _: np.random.default_rng(7))
    return trainer.fit(start or model.initial(np.random.default_rng(1)), examples, epochs=2)


def quantise(bits: int, sparsity: float = 0.0, **params: Any) -> Quantise:
    return Quantise(
        QuantiseParams(schedule="constant", begin_round=0, **params), sparsity=sparsity, rounds=1, bits=bits
    )


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("sparsity", [0.0, 0.7])
def test_no_pruned_weight_comes_back_and_weights_are_on_the_grid(
    model: ModelSpec, examples: Examples, bits: int, sparsity: float
) -> None:
    trained = fit(model, examples, quantise(bits, sparsity, scope="layer"))
    for at, i in enumerate(model.prunable):
        array = trained.weights[i].astype(np.float64)
        scale = np.abs(array).max() / (2 ** (bits - 1) - 1)
        assert np.abs(array / scale - np.round(array / scale)).max() < 0.005
        if sparsity:
            mask = trained.masks[at]
            assert mask.mean() == pytest.approx(0.3, abs=0.02)
            assert not array[~mask].any()
            assert not trained.latent[i][~mask].any()
    assert bool(trained.masks) == bool(sparsity)
    assert not all(np.array_equal(a, b) for a, b in zip(trained.weights, trained.latent, strict=True))


def test_32_bits_are_plain_training(model: ModelSpec, examples: Examples) -> None:
    from fedcompress.compression.kinds.none import NoCompression

    dense = NoCompression(NoCompression.Params(), sparsity=0.0, rounds=1)
    plain, quantised = fit(model, examples, dense), fit(model, examples, quantise(32))  # type: ignore[arg-type]
    for a, b in zip(plain.weights, quantised.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_every_width_has_the_same_graph() -> None:
    keys = {quantise(bits).key for bits in (2, 4, 8, 16, 32)}
    assert len(keys) == 1
    assert quantise(4, activations="uniform").key not in keys


def test_fixed_point_and_ternary_models(model: ModelSpec, examples: Examples) -> None:
    fixed = fit(model, examples, quantise(6, weights="fixed", biases="fixed", integer=1))
    step = 2.0 ** (1 - 6 + 1)
    for i in (*model.prunable, *model.biases):
        assert np.array_equal(fixed.weights[i] / step, np.round(fixed.weights[i] / step))
    ternary = fit(model, examples, quantise(2, weights="ternary"))
    for i in model.prunable:
        assert len(np.unique(np.abs(ternary.weights[i]))) == 2


def test_ranges_of_activations_are_observed(model: ModelSpec, examples: Examples) -> None:
    """mini-cnn has one activation; ReLU makes nothing below zero."""
    trained = fit(model, examples, quantise(8, activations="uniform"))
    assert [o[0] for o in trained.observed] == [0.0]
    assert all(o[1] > 0 for o in trained.observed)


ACTIVATIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("leaky_relu", "ReLU", {"negative_slope": 0.5}),
    ("leaky_relu", "LeakyReLU", {}),
    ("prelu", "PReLU", {"alpha_initializer": "ones"}),
    ("elu", "ELU", {}),
    ("tanh", "Activation", {"activation": "tanh"}),
    ("relu", "ReLU", {}),
    ("thresholded_relu", "ThresholdedReLU", {"theta": 0.01}),
)


class Activations(Architecture):
    """Every layer that is an activation function, behind one that ends in such a layer."""

    def features(self, inputs: Any) -> Any:
        layers = keras.layers
        x = layers.Dense(6, activation=layers.LeakyReLU())(layers.Flatten()(inputs))
        for _, name, arguments in ACTIVATIONS:
            x = getattr(layers, name)(**arguments)(layers.Dense(6)(x))
        return x


@pytest.mark.parametrize("kind", ["fixed", "uniform"])
def test_activations_are_rounded_whatever_layer_makes_them(
    examples: Examples, kind: Literal["fixed", "uniform"]
) -> None:
    """What leaks is negative in fixed point, too; what is never negative has no sign there, and steps half as large."""
    spec = ModelSpec("activations", Activations(), (8, 8, 1), 3)
    names = ["leaky_relu", *(name for name, *_ in ACTIVATIONS)]
    assert [function for _, function in rounded_activations(spec.build())] == names
    compression = quantise(4, activations=kind, activation_integer=1, activation_bits=4)
    trained = fit(spec, examples, compression)
    assert len(trained.observed) == (len(names) if kind == "uniform" else 0)
    model = spec.build()
    model.set_weights(trained.weights)
    network = compression.network(model, trained.observed)
    readers = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)][1:]
    x = np.random.default_rng(0).normal(0, 1, (40, 8, 8, 1)).astype(np.float32)
    given = keras.Model(network.inputs, [layer.get_input_at(-1) for layer in readers]).predict(x, verbose=0)
    for name, values in zip(names, given, strict=True):
        assert 2 < np.unique(values).size <= 16
        assert (values.min() < 0) == (name not in UNSIGNED)
        if kind == "fixed":
            step = 1 / 8 if name in UNSIGNED else 1 / 4
            assert np.array_equal(values / step, np.round(values / step))


def test_codebook_by_hand() -> None:
    """Two clusters of {1, 2, 3} and {9, 11}; zeros are none."""
    array = np.array([[0, 1, 2], [3, 9, 11]], np.float32)
    assert codebook(array, 2).tolist() == [2.0, 10.0]
    assert nearest(array, codebook(array, 2)).tolist() == [[0, 2, 2], [2, 10, 10]]
    assert codebook(array, 200).tolist() == [1, 2, 3, 9, 11]
    assert codebook(np.zeros(3, np.float32), 4).tolist() == [0]


class OneKernel:
    """A model of a kernel and a bias."""

    prunable, biases = (0,), (1,)


def cluster(clusters: int, tolerance: float = 0.0) -> Cluster:
    return Cluster(ClusterParams(clusters=clusters, tolerance=tolerance), sparsity=0.0, rounds=1)


ROUNDING = {
    **{f"{bits} bits": quantise(bits, biases="uniform") for bits in (2, 4, 8, 16)},
    **{f"fixed point of {bits}": quantise(bits, weights="fixed", biases="fixed", integer=1) for bits in (4, 8)},
    "ternary": quantise(2, weights="ternary", biases="ternary"),
    **{f"{clusters} clusters": cluster(clusters) for clusters in (2, 3, 16, 256)},
    "as many clusters as it takes": cluster(16, tolerance=0.1),
}


@pytest.mark.parametrize("name", ROUNDING)
@pytest.mark.parametrize("seed", range(8))
def test_what_is_rounded_stays_as_it_is(name: str, seed: int) -> None:
    """To the bit: a server deploys what clients or teaching have rounded, rounded once more."""
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(1, 900)), int(rng.integers(1, 40))
    kernel = rng.standard_normal(shape) * 10 ** rng.uniform(-3, 1) * (rng.random(shape) < rng.uniform(0.05, 1))
    start = [kernel.astype(np.float32), rng.standard_normal(shape[1]).astype(np.float32)]
    once = ROUNDING[name].rounded(start, OneKernel)  # type: ignore[arg-type]
    twice = ROUNDING[name].rounded(once, OneKernel)  # type: ignore[arg-type]
    assert [a.tobytes() for a in twice] == [a.tobytes() for a in once]
    assert np.unique(once[0]).size < np.unique(start[0]).size or start[0].size < 400


@given(numpy_arrays(np.float32, st.integers(1, 40), elements=st.floats(-4, 4, width=16)), st.integers(2, 9))
def test_any_values_are_clustered_once(array: Any, clusters: int) -> None:
    once = cluster(clusters).rounded([array], OneKernel)[0]  # type: ignore[arg-type]
    assert cluster(clusters).rounded([once], OneKernel)[0].tobytes() == once.tobytes()  # type: ignore[arg-type]
    assert np.unique(once[once != 0]).size <= clusters


def test_neighbours_in_float32_are_two_clusters() -> None:
    """Their middle in float32 is one of them: of 1 + 3 u and 1 + 4 u, u the last bit, the upper one."""
    array = np.float32(1) + np.array([0, 1, 2, 3, 4, 5], np.float32) * np.float32(2**-23)
    assert np.array_equal(nearest(array, codebook(array, 6)), array)


def test_rare_values_are_clusters_too() -> None:
    """Quantiles of 1,000 values that are one and 3 others miss the others."""
    array = np.array([1.0] * 1000 + [2.0, 3.0, -5.0], np.float32)
    assert codebook(array, 4).tolist() == [-5, 1, 2, 3]
    assert codebook(array, 3).size <= 3


def test_the_number_of_clusters_adapts() -> None:
    """Three tight groups: three clusters leave almost nothing of the variance, two leave much of it."""
    rng = np.random.default_rng(0)
    array = np.concatenate([rng.normal(center, 0.01, 50) for center in (-1, 0.5, 2)]).astype(np.float32)
    assert len(codebook(array, 64, tolerance=0.01)) == 3
    assert 50 < len(codebook(array, 64)) <= 64
    assert len(codebook(array, 2, tolerance=0.01)) == 2


@pytest.mark.parametrize("sparsity", [0.0, 0.6])
def test_clustered_training(model: ModelSpec, examples: Examples, sparsity: float) -> None:
    params = ClusterParams(clusters=4, schedule="constant", begin_round=0, scope="layer")
    trained = fit(model, examples, Cluster(params, sparsity=sparsity, rounds=1))
    for at, i in enumerate(model.prunable):
        array = trained.weights[i]
        assert len(np.unique(array[array != 0])) == 4
        if sparsity:
            assert not array[~trained.masks[at]].any()
            assert np.count_nonzero(array) == trained.masks[at].sum()


def test_it_learns_what_it_computes_with(model: ModelSpec) -> None:
    """A bright and a dark class: a ternary network tells them apart after training."""
    y = np.arange(200, dtype=np.int32) % 2
    x = (np.random.default_rng(0).integers(0, 60, (200, 8, 8, 1)) + 150 * y[:, None, None, None]).astype(np.uint8)
    data = Examples(x, y)
    compression = quantise(2, weights="ternary")
    trainer = Trainer(model, compression, TrainingSettings(batch_size=8, learning_rate=0.01), 1, np.random.default_rng)  # type: ignore[arg-type]
    trainer._rng = lambda _: np.random.default_rng(3)
    trained = trainer.fit(model.initial(np.random.default_rng(1)), data, epochs=4)
    assert trainer.evaluate(trained.weights, data).accuracy > 0.95

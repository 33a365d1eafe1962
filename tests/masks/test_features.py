"""What is known of channels: without units, and worked out by hand where that is possible."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.masks.features import FEATURES, POSITION, chain, describe
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.architectures.lenet5 import LeNet5

LENET = ModelSpec("lenet5", LeNet5(), (8, 8, 1), 10)
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
Y = (np.arange(40) % 10).astype(np.int32)


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, FEATURES.index(name)]


def test_a_row_for_each_channel_and_no_units() -> None:
    """Twice the first kernel, half of the second: activations of the first layer double, which its shares do not."""
    weights = LENET.initial(np.random.default_rng(1))
    found = describe(LENET, weights, X, Y)
    assert found.widths == (6, 16, 120, 84)
    assert found.features.shape == (226, len(FEATURES))
    assert np.isfinite(found.features).all()
    scaled = [w.copy() for w in weights]
    scaled[0] *= 2
    scaled[2] /= 2
    assert describe(LENET, scaled, X, Y).features == pytest.approx(found.features, abs=1e-3)
    assert [m.size for m in found.kept(np.ones(226, bool))] == [6, 16, 120, 84]


def test_examples_are_those_of_the_whole_set_and_not_the_first_ones() -> None:
    """Sets are often sorted by class: here black images, and then others."""
    weights = LENET.initial(np.random.default_rng(1))
    x = np.concatenate([np.zeros((300, 8, 8, 1), np.uint8), RNG.integers(0, 256, (211, 8, 8, 1)).astype(np.uint8)])
    y = (np.arange(511) >= 300).astype(np.int32)
    found = describe(LENET, weights, x, y).features
    assert np.array_equal(found, describe(LENET, weights, x[::2], y[::2]).features)
    assert not np.allclose(found, describe(LENET, weights, x[:256], y[:256]).features)


def test_sizes_ranks_and_places_by_hand() -> None:
    """Six filters of which the last is twice as large: shares 1 / (7 / 6) and 2 / (7 / 6)."""
    weights = [np.ones_like(a) for a in LENET.template]
    weights[0][..., 5] *= 2
    weights[2][:, :, 5] *= 3
    found = describe(LENET, weights, X, Y).features
    assert column(found, "l1 of the filter")[:6] == pytest.approx([*[np.log(6 / 7)] * 5, np.log(12 / 7)])
    assert column(found, "l2 of the fan-out")[:6] == pytest.approx([*[np.log(6 / 8)] * 5, np.log(18 / 8)])
    assert column(found, "rank of the filter")[:6] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert column(found, "scale of batch normalisation").tolist() == [0.0] * 226
    assert column(found, "depth")[[0, 6, 22, 142]] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert column(found, "width of the layer")[0] == pytest.approx(np.log2(6) / 10)
    assert column(found, "width before")[0] == 0
    assert column(found, "width after")[-1] == pytest.approx(np.log2(10) / 10)
    assert FEATURES[POSITION:] == ("depth", "width of the layer", "width before", "width after")


def test_a_flattened_map_is_read_channel_by_channel() -> None:
    """The dense layer's weights for one map of the second convolution alone are larger."""
    weights = [np.ones_like(a) for a in LENET.template]
    rows = np.arange(weights[4].shape[0]) % 16 == 3
    weights[4][rows] *= 5
    fan_out = column(describe(LENET, weights, X, Y).features, "l1 of the fan-out")[6:22]
    assert np.flatnonzero(fan_out > 0).tolist() == [3]


class Normalised(Architecture):
    def features(self, inputs):  # type: ignore[no-untyped-def]
        x = keras.layers.Conv2D(3, 3)(inputs)
        x = keras.layers.BatchNormalization()(x)
        return keras.layers.Flatten()(keras.layers.ReLU()(x))


def test_scales_of_batch_normalisation() -> None:
    spec = ModelSpec("normalised", Normalised(), (8, 8, 1), 10)
    weights = spec.initial(np.random.default_rng(0))
    weights[2] = np.array([1.0, -2.0, 3.0], np.float32)
    found = column(describe(spec, weights, X, Y).features, "scale of batch normalisation")
    assert found == pytest.approx(np.log([0.5, 1.0, 1.5]))


class Shifted(Architecture):
    def features(self, inputs):  # type: ignore[no-untyped-def]
        x = keras.layers.BatchNormalization(scale=False)(keras.layers.Conv2D(3, 3)(inputs))
        return keras.layers.Flatten()(keras.layers.ReLU()(x))


def test_a_bias_is_no_scale() -> None:
    """Before a normalisation that shifts alone."""
    spec = ModelSpec("shifted", Shifted(), (8, 8, 1), 10)
    weights = spec.initial(np.random.default_rng(0))
    weights[1] = np.array([1.0, -2.0, 3.0], np.float32)
    assert column(describe(spec, weights, X, Y).features, "scale of batch normalisation").tolist() == [0.0] * 3


class Branching(Architecture):
    def features(self, inputs):  # type: ignore[no-untyped-def]
        x = keras.layers.Flatten()(inputs)
        return keras.layers.Add()([keras.layers.Dense(4)(x), keras.layers.Dense(4)(x)])


def test_a_network_that_cannot_be_followed_is_refused_by_its_layer() -> None:
    spec = ModelSpec("branching", Branching(), (8, 8, 1), 10)
    with pytest.raises(InputError, match="'branching': channels of layer 'dense' are tied to those of others"):
        describe(spec, spec.template, X, Y)


class Grouped(Architecture):
    def features(self, inputs):  # type: ignore[no-untyped-def]
        x = keras.layers.GroupNormalization(2)(keras.layers.Conv2D(4, 3, name="maps")(inputs))
        return keras.layers.Flatten()(x)


def test_channels_that_are_normalised_in_groups_are_refused_by_their_layer() -> None:
    with pytest.raises(InputError, match=r"'grouped': channels of layer 'maps' are tied .* or normalised in groups"):
        chain(ModelSpec("grouped", Grouped(), (8, 8, 1), 10))

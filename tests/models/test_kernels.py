"""Which weights of a model are kernels, what they are called, and which of them stay dense."""

from __future__ import annotations

from typing import Any

import pytest

from fedcompress import keras
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.kernels import kernels


class Mixed(Architecture):
    """An embedding of 20 x 3, a frozen backbone with a depthwise layer, an LSTM, and normalisation of two axes."""

    def features(self, inputs: Any) -> Any:
        layers = keras.layers
        shape = inputs.shape[1:]
        backbone = keras.Sequential(
            [keras.Input(shape), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.DepthwiseConv2D(3)],
            name="backbone",
        )
        backbone.trainable = False
        seen = layers.Reshape((16, 4))(backbone(inputs))
        words = layers.Embedding(20, 3)(layers.Flatten()(inputs))
        both = layers.Concatenate()([layers.LSTM(5)(seen), layers.LSTM(2, name="reader")(words)])
        return layers.PReLU()(layers.LayerNormalization()(both))


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return ModelSpec("mixed", Mixed(), (8, 8, 1), 3)


def test_kernels_wherever_they_are(spec: ModelSpec) -> None:
    """Neither biases nor normalisation nor PReLU; a layer with two kernels names both."""
    sizes = {name: spec.template[i].size for i, name in spec.kernels.items()}
    assert sizes == {
        "conv2d": 9 * 4,
        "depthwise_conv2d": 9 * 4,
        "embedding": 20 * 3,
        "lstm/lstm_cell/kernel": 4 * 20,
        "lstm/lstm_cell/recurrent_kernel": 5 * 20,
        "reader/lstm_cell/kernel": 3 * 8,
        "reader/lstm_cell/recurrent_kernel": 2 * 8,
        "head": 7 * 3,
    }


def test_what_stays_dense(spec: ModelSpec) -> None:
    """The frozen backbone, 72 weights, and the embedding, 60, of 373."""
    assert sorted(spec.dense_kernels.values()) == ["conv2d", "depthwise_conv2d", "embedding"]
    assert spec.dense_share == pytest.approx(132 / 373)
    assert [spec.kernels[i] for i in spec.prunable] == [
        name for name in spec.kernels.values() if name not in spec.dense_kernels.values()
    ]
    assert len(spec.biases) == 3  # of both cells and of the head; those of the backbone are frozen


def test_a_bias_of_two_axes_is_none() -> None:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6, 4)), layers.GRU(3, return_sequences=True), layers.LocallyConnected1D(2, 2)]
    )
    assert sorted(a.ndim for a in model.get_weights()) == [2, 2, 2, 2, 3]
    assert sorted(name.rpartition("/")[2] for name in kernels(model).values()) == [
        "kernel",
        "locally_connected1d",
        "recurrent_kernel",
    ]


def test_kernels_of_one_name_are_told_apart() -> None:
    layers = keras.layers
    inputs = keras.Input((4,))
    parts = [keras.Sequential([keras.Input((4,)), layers.Dense(4, name="same")], name=name) for name in "ab"]
    model = keras.Model(inputs, layers.Add()([part(inputs) for part in parts]))
    assert list(kernels(model).values()) == ["same", "same 2"]


def test_a_shared_layer_counts_once() -> None:
    inputs, layer = keras.Input((4,)), keras.layers.Dense(4)
    assert len(kernels(keras.Model(inputs, layer(layer(inputs))))) == 1


def test_a_kernel_behind_its_spectral_norm_counts_and_stays_dense() -> None:
    """The norm is no batch normalisation: 3 x 3 x 1 x 2 weights of 90 + 18; what rescales them has a hand on them."""

    class Behind(Architecture):
        def features(self, inputs: Any) -> Any:
            layers = keras.layers
            seen = layers.TimeDistributed(layers.Dense(3))(layers.Reshape((8, 8))(inputs))
            map_ = layers.SpectralNormalization(layers.Conv2D(2, 3))(layers.Reshape((8, 3, 1))(seen))
            return layers.Flatten()(layers.BatchNormalization()(map_))

    spec = ModelSpec("behind", Behind(), (8, 8, 1), 3)
    shapes = {name: spec.template[i].shape for i, name in spec.kernels.items()}
    assert shapes == {"time_distributed": (8, 3), "spectral_normalization": (3, 3, 1, 2), "head": (12, 3)}
    assert list(spec.dense_kernels.values()) == ["spectral_normalization"]
    assert spec.dense_share == pytest.approx(18 / (24 + 18 + 36))

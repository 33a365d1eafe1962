"""What training does to each array of a model: what is declared, and what a training really leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression.base import Wrapping
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.kinds import kinds_of
from fedcompress.training.loop import TrainingLoop
from fedcompress.training.objectives import CrossEntropy

Layers = Callable[[Any, Any], Any]
L, S, C = "learned", "statistic", "constant"
NORMALISED, FROZEN = [L, L, S, S], [C, C, C, C]
"""gamma, beta, mean and variance of a batch normalisation."""


def batch_norm(layers: Any, x: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(2, 3, activation="relu")(x))


def frozen_layers(layers: Any, x: Any) -> Any:
    x = layers.BatchNormalization(trainable=False)(layers.Conv2D(2, 3, trainable=False)(x))
    return layers.BatchNormalization()(x)


def frozen_backbone(layers: Any, x: Any) -> Any:
    """Two models deep, frozen from outside, as one freezes a network that comes with its weights."""
    block = keras.models.Sequential([layers.Conv2D(2, 3), layers.BatchNormalization()])
    backbone = keras.models.Sequential([block, layers.ReLU(), layers.BatchNormalization()])
    backbone.trainable = False
    return layers.Conv2D(3, 3, use_bias=False)(backbone(x))


def nested_backbone(layers: Any, x: Any) -> Any:
    return keras.models.Sequential([layers.Conv2D(2, 3, activation="relu"), layers.BatchNormalization()])(x)


def thawed(layers: Any, x: Any) -> Any:
    """A normalisation that is trainable in a frozen model: nothing learns its gamma and beta, its averages move."""
    backbone = keras.models.Sequential([layers.Conv2D(2, 3), layers.BatchNormalization()])
    backbone.trainable = False
    backbone.layers[-1].trainable = True
    return backbone(x)


def shared(layers: Any, x: Any) -> Any:
    norm = layers.BatchNormalization()
    return norm(layers.Conv2D(1, 3, padding="same", activation="tanh")(norm(x)))


def time_distributed(layers: Any, x: Any) -> Any:
    return layers.TimeDistributed(layers.BatchNormalization())(layers.Reshape((8, 8, 1))(x))


def random_layers(layers: Any, x: Any) -> Any:
    """Their generators are no weights."""
    return layers.Dropout(0.5)(layers.GaussianNoise(0.1)(layers.RandomFlip()(x)))


def no_averages(layers: Any, x: Any) -> Any:
    return layers.BatchNormalization(scale=False)(layers.LayerNormalization(axis=[1, 2])(x))


MODELS: dict[Layers, list[str]] = {
    batch_norm: [L, L, *NORMALISED],
    frozen_layers: [C, C, *FROZEN, *NORMALISED],
    frozen_backbone: [C, C, *FROZEN, *FROZEN, L],
    nested_backbone: [L, L, *NORMALISED],
    thawed: [C, C, C, C, S, S],
    shared: [*NORMALISED, L, L],
    time_distributed: NORMALISED,
    random_layers: [],
    no_averages: [L, L, L, S, S],
}


class Made(Architecture):
    def __init__(self, make: Layers) -> None:
        self._make = make

    def features(self, inputs: Any) -> Any:
        return keras.layers.Flatten()(self._make(keras.layers, inputs))


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("reuses_head", [False, True])
def test_kinds_are_what_training_does(make: Layers, reuses_head: bool) -> None:
    spec = ModelSpec("made", Made(make), (8, 8, 1), 3, reuses_head)
    expected = [*MODELS[make], *([C, C] if reuses_head else [L, L])]
    assert list(spec.kinds) == expected
    assert [array.kind for array in spec.contents["weights"].arrays] == expected
    if L not in expected:
        return
    rng = np.random.default_rng(0)
    start = [array + np.float32(0.1) for array in spec.template]
    x, y = rng.standard_normal((40, 8, 8, 1)).astype(np.float32), rng.integers(0, 3, 40).astype(np.int32)
    loop = TrainingLoop(spec, Wrapping(), CrossEntropy(), "momentum")
    trained = loop.run(start, x, y, CrossEntropy(), [], epochs=2, batch_size=8, learning_rate=0.1, rng=rng)
    changed = [a.tobytes() != b.tobytes() for a, b in zip(start, trained.weights, strict=True)]
    assert [kind for kind, moved in zip(expected, changed, strict=True) if moved] == [k for k in expected if k != C]


def test_other_layers_that_change_without_a_gradient() -> None:
    """The vector of spectral normalisation, and a counter, which is no float."""
    layers = keras.layers
    inputs = keras.Input((8, 8, 1))
    outputs = layers.SpectralNormalization(layers.Conv2D(2, 3))(layers.Normalization()(inputs))
    assert kinds_of(keras.Model(inputs, outputs)) == (S, S, S, L, L, S)
    frozen = keras.Model(inputs, layers.Normalization(trainable=False)(inputs))
    assert kinds_of(frozen) == (C, C, C)

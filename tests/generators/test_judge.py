"""The judge of generated samples is one fixed network: scores measured with it stay comparable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.generators.judge import classifier
from fedcompress.generators.quality import accuracy_score, features, fitted, frechet_distance, kernel_distance
from fedcompress.plugins import Plugins


def plain(shape: tuple[int, ...]) -> Any:
    """Stride-1 convolutions of 8, 16 and 16 filters, each with ReLU and max-pooling that halves the image."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Conv2D(8, 3, padding="same", activation="relu", input_shape=shape),
            layers.MaxPooling2D(2, padding="same"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (32, 32, 3)])
def test_its_outputs_are_those_of_the_plain_network(shape: tuple[int, ...]) -> None:
    spec, expected = classifier(shape, 10), plain(shape)
    weights = spec.initial(np.random.default_rng(1))
    model = spec.build()
    model.set_weights(weights)
    expected.set_weights(weights)
    x = np.random.default_rng(2).random((5, *shape), np.float32)
    np.testing.assert_allclose(model(x).numpy(), expected(x).numpy(), rtol=1e-5, atol=1e-6)
    assert np.abs(expected(x).numpy()).max() > 0.01


def test_its_size() -> None:
    """80 + 1,168 + 2,320 and a head of 256 x 10 + 10."""
    spec = classifier((28, 28, 1), 10)
    assert (spec.name, spec.parameters, spec.features) == ("judge", 6138, 256)


def test_it_is_no_model_for_scenarios() -> None:
    assert "judge" not in Plugins().names("models")


def test_its_scores_are_those_of_earlier_versions() -> None:
    """Measured when it was still called medium-cnn: 166 of the 359 test digits after three epochs, and distances."""
    digits = load_dataset("digits")
    real, test = Examples(digits.x_train, digits.y_train), Examples(digits.x_test, digits.y_test)
    spec = classifier((8, 8, 1), 10)
    assert accuracy_score(real, test, spec, np.random.default_rng(0), epochs=3) * 359 == pytest.approx(166, abs=1)
    weights = fitted(real, spec, np.random.default_rng(1), 3)
    seen = features(spec, weights, digits.x_train)
    assert seen.sum() == pytest.approx(3238.25, rel=1e-3)
    assert frechet_distance(seen[::2], seen[1::2]) == pytest.approx(0.000527, rel=0.01)
    inverted = features(spec, weights, 255 - digits.x_train[:300])
    assert kernel_distance(seen[:300], inverted) == pytest.approx(0.03046, rel=0.01)

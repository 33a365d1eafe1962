"""mlp: a multilayer perceptron."""

from __future__ import annotations

from typing import Any

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class MLP(Architecture):
    """Dense layers of 100, 50 and 20 units: 84,780 parameters on 28x28x1 with 10 classes."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Flatten()(inputs)
        for units in (100, 50, 20):
            x = keras.layers.Dense(units, activation="relu")(x)
        return x

"""lenet5: the network of LeCun et al. 1998, "Gradient-based learning applied to document recognition"."""

from __future__ import annotations

from typing import Any

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class LeNet5(Architecture):
    """Convolutions of 6 and 16 maps, dense layers of 120 and 84 units: 226 units, 61,706 parameters on 28x28x1."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(6, 5, padding="same", activation="relu")(inputs)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
        x = keras.layers.Conv2D(16, 5, padding="valid" if x.shape[1] > 5 else "same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
        x = keras.layers.Flatten()(x)
        x = keras.layers.Dense(120, activation="relu")(x)
        return keras.layers.Dense(84, activation="relu")(x)

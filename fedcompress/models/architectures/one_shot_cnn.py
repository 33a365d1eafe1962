"""one-shot-cnn: two convolutions with batch normalisation, as clients have them in studies of one-shot federations."""

from __future__ import annotations

from typing import Any

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class OneShotCNN(Architecture):
    """Convolutions of 16 and 32 maps, 5x5, each normalised over the batch (Zhang et al. 2022, "DENSE", MNIST)."""

    def features(self, inputs: Any) -> Any:
        x = inputs
        for filters in (16, 32):
            x = keras.layers.Conv2D(filters, 5, padding="same")(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
            x = keras.layers.MaxPooling2D(2, padding="same")(x)
        return keras.layers.Flatten()(x)

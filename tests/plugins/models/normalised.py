"""Convolution, ReLU, batch normalisation, pooling, twice; ":frozen": the first block is never trained."""

from __future__ import annotations

from typing import Any

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class Normalised(Architecture):
    """Averages of batch normalisation on top of trained kernels."""

    argument_name = "frozen"

    def __init__(self, argument: str = "") -> None:
        self.frozen = argument == "frozen"

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.frozen

    def features(self, inputs: Any) -> Any:
        x = inputs
        for block, filters in enumerate((8, 16)):
            trainable = block > 0 or not self.frozen
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", trainable=trainable)(x)
            x = keras.layers.BatchNormalization(momentum=0.9, trainable=trainable)(x)
            x = keras.layers.MaxPooling2D(2, padding="same")(x)
        return keras.layers.Flatten()(x)

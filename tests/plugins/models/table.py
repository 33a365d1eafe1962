"""Batch normalisation of raw columns, then a hidden layer."""

from __future__ import annotations

from typing import Any

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class Table(Architecture):
    """For tables whose columns differ in scale."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.BatchNormalization(momentum=0.5)(inputs)
        return keras.layers.Dense(16, activation="relu")(x)

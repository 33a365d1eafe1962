"""Softmax regression: the pixels are the features."""

from __future__ import annotations

from typing import Any

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class Linear(Architecture):
    """Of which a training is a few lines of NumPy."""

    def features(self, inputs: Any) -> Any:
        return keras.layers.Flatten()(inputs)

"""Building block of the small convolutional networks: 3x3 convolution, ReLU, 2x2 max-pooling, repeated."""

from __future__ import annotations

from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class ConvNet(Architecture):
    """A stack of convolutions; each halves the image (rounding up) and its last map is flattened."""

    filters: ClassVar[tuple[int, ...]]

    def features(self, inputs: Any) -> Any:
        x = inputs
        for filters in self.filters:
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
            x = keras.layers.MaxPooling2D(2, padding="same")(x)
        return keras.layers.Flatten()(x)

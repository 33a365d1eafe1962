"""Building block of the small convolutional networks: 3x3 convolutions that halve the image, ReLU and max-pooling."""

from __future__ import annotations

from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class ConvNet(Architecture):
    """3x3 convolutions of stride 2, whose last map is flattened as it is, without an activation.

    Each one before the last is followed by ReLU and 2x2 max-pooling of stride 1. All padding is "same", so that each
    convolution halves the image, rounding up, and pooling keeps its size.
    """

    filters: ClassVar[tuple[int, ...]]

    def features(self, inputs: Any) -> Any:
        layers, x = keras.layers, inputs
        *first, last = self.filters
        for filters in first:
            x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
            x = layers.MaxPooling2D(2, strides=1, padding="same")(x)
        return layers.Flatten()(layers.Conv2D(last, 3, strides=2, padding="same")(x))

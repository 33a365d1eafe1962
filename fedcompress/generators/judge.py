"""The classifier that judges generated samples: one fixed network, so that scores of quality stay comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedcompress import keras
from fedcompress.models.architecture import Architecture, ModelSpec

NAME = "judge"


class Judge(Architecture):
    """3x3 convolutions of 8, 16 and 16 filters, each with ReLU and then 2x2 max-pooling, all padding "same"; flattened.

    6,138 parameters and 256 features on 28x28x1 with 10 classes. It is no model for scenarios, and whatever changes
    among those leaves it as it is: a score tells only beside others from the same network.
    """

    def features(self, inputs: Any) -> Any:
        x = inputs
        for filters in (8, 16, 16):
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
            x = keras.layers.MaxPooling2D(2, padding="same")(x)
        return keras.layers.Flatten()(x)


def classifier(input_shape: Sequence[int], classes: int) -> ModelSpec:
    """Returns the judge of images (height, width, channels)."""
    return ModelSpec(NAME, Judge(), input_shape, classes)

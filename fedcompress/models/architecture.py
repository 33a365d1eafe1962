"""An architecture, and a model of it for one data set: logits out, features and head that can be taken apart."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.wire.content import Arrays, Content, weights_content

HEAD = "head"
"""Name of the classifier layer, the last one of every model."""


class Architecture(ABC):
    """Interface of a model plug-in: what turns images into features. One subclass per file in `models/`."""

    @abstractmethod
    def features(self, inputs: Any) -> Any:
        """Returns the flat feature tensor (batch, f) of scaled images (batch, height, width, channels)."""


class ModelSpec:
    """An architecture at one input shape and number of classes.

    Args:
        name: Name of the architecture, as in a scenario.
        architecture: What builds the features.
        input_shape: (height, width, channels), or (features,) for tables.
        classes: Number of logits.
    """

    def __init__(self, name: str, architecture: Architecture, input_shape: Sequence[int], classes: int) -> None:
        self.name = name
        self.architecture = architecture
        self.input_shape = tuple(input_shape)
        self.classes = classes

    @property
    def key(self) -> tuple[Any, ...]:
        """Two specs with equal keys build the same graph."""
        return type(self.architecture), self.name, self.input_shape, self.classes

    def build(self) -> Any:
        """Returns a new Keras model (batch, *input_shape) -> logits (batch, classes)."""
        with keras.LOCK:
            keras.backend.reset_uids()  # so that layers, and with them exported files, are named alike every time
            inputs = keras.Input(self.input_shape)
            features = self.architecture.features(inputs)
            logits = keras.layers.Dense(self.classes, name=HEAD)(features)
            return keras.Model(inputs, logits, name=re.sub(r"\W", "_", self.name))

    def feature_extractor(self, model: Any) -> Any:
        """Returns the part of `model` that ends at the features, sharing its variables."""
        with keras.LOCK:
            return keras.Model(model.input, model.get_layer(HEAD).input)

    @cached_property
    def _layout(self) -> tuple[Arrays, tuple[int, ...], tuple[Any, ...], int, tuple[int, ...]]:
        model = self.build()
        kernels = {id(v) for layer in model.layers for v in [getattr(layer, "kernel", None)] if v is not None}
        kinds = {id(layer.kernel): layer.kernel_initializer for layer in model.layers if hasattr(layer, "kernel")}
        prunable = tuple(i for i, v in enumerate(model.weights) if id(v) in kernels)
        initializers = tuple(kinds.get(id(v)) for v in model.weights)
        features = int(model.get_layer(HEAD).input.shape[-1])
        trainable = tuple(i for i, v in enumerate(model.weights) if v.trainable)
        return [w.copy() for w in model.get_weights()], prunable, initializers, features, trainable

    @property
    def template(self) -> Arrays:
        """Weights with the right shapes and no meaning."""
        return self._layout[0]

    @property
    def prunable(self) -> tuple[int, ...]:
        """Positions of the kernels among the weights; biases and normalisation are never pruned."""
        return self._layout[1]

    @property
    def trainable(self) -> tuple[int, ...]:
        """Positions of what an optimizer changes; batch-norm statistics are not among them."""
        return self._layout[4]

    @property
    def head(self) -> tuple[int, int]:
        """Positions of the classifier's kernel and bias among the weights."""
        return len(self.template) - 2, len(self.template) - 1

    @property
    def features(self) -> int:
        """Length of the feature vector."""
        return self._layout[3]

    @property
    def parameters(self) -> int:
        """Number of weights, trainable or not."""
        return sum(a.size for a in self.template)

    @property
    def contents(self) -> dict[str, Content]:
        """Declaration of "weights" and "mask" of this model."""
        return weights_content(self.template, self.prunable)

    def initial(self, rng: np.random.Generator) -> Arrays:
        """Returns initial weights: each kernel from its layer's own initializer, seeded by `rng`."""
        template, _, initializers, *_ = self._layout
        weights = []
        for array, initializer in zip(template, initializers, strict=True):
            if initializer is not None:
                config = initializer.get_config() | {"seed": int(rng.integers(2**31))}
                array = type(initializer).from_config(config)(array.shape).numpy()
            weights.append(array.copy())
        return weights

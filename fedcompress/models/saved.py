"""A user's own saved Keras model, trained: `.keras` or `.h5`, with logits or a softmax at its end."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models import reading
from fedcompress.models.architecture import HEAD, Architecture, ModelSpec
from fedcompress.models.normalised import plainly_grouped
from fedcompress.wire.content import Arrays

SUFFIXES = (".keras", ".h5")
_KEPT = ("InputLayer",)
"""Kinds of layers that take what comes as it is."""


class SavedModel(ModelSpec):
    """A model from a file. Its inputs are what every model here sees: uint8 images divided by 255, other data as it is.

    A softmax at its end is left out, so that its outputs are logits.

    Args:
        path: Of a sequential or functional model that tf_keras (Keras 2) has saved.
        input_shape: Shape of an example of the data.
        classes: Classes of the data.
        name: By which it is known; that of the file by default.

    Raises:
        InputError: The file cannot be read, or the model does not fit the data.
    """

    def __init__(self, path: Path, input_shape: Sequence[int], classes: int, name: str | None = None) -> None:
        model, name = _read(path, input_shape), name or path.stem
        super().__init__(name, _File(name, sha256(path.read_bytes()).hexdigest()), input_shape, classes)
        self._problems(model, path)
        self._config = _ending_in_head(model.get_config())
        self._weights: Arrays = model.get_weights()
        self.check_weights()
        _check_finite(model, path)

    @property
    def trained(self) -> Arrays:
        """Its weights as they are in the file."""
        return [array.copy() for array in self._weights]

    def build(self, seed: int = 0) -> Any:
        with keras.seeded(seed):
            config = _computing(deepcopy(self._config))  # some layers change what they are made from
            return plainly_grouped(keras.Model.from_config(config))

    def _problems(self, model: Any, path: Path) -> None:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise InputError(
                f"model {path}: has {len(model.inputs)} inputs and {len(model.outputs)} outputs; expected one of each."
            )
        last = model.layers[-1]
        shape = tuple(model.input_shape[1:])
        if type(last).__name__ != "Dense" or last.units != self.classes:
            outputs = "x".join(map(str, model.output_shape[1:]))
            raise InputError(
                f"model {path}: ends in a {type(last).__name__} with {outputs} outputs; expected one input, and at the "
                f"end a Dense layer with an output for each of the {self.classes} classes, with or without softmax."
            )
        activation = str(last.get_config()["activation"])
        if activation not in ("linear", "softmax"):
            raise InputError(
                f"model {path}: ends in a Dense layer with {activation}; expected logits, or softmax. What it learned "
                "stays with model.layers[-1].activation = tf_keras.activations.linear and model.save(...); training "
                "then takes its outputs for the logits of one class out of all."
            )
        if any(layer.name == HEAD for layer in model.layers[:-1]):
            raise InputError(f"model {path}: has a layer {HEAD!r} that is not its last; expected another name for it.")
        if shape != self.input_shape:
            raise InputError(
                f"model {path}: takes inputs of {'x'.join(map(str, shape))}; the examples of the data are "
                f"{'x'.join(map(str, self.input_shape))}."
            )


class StartingModel(SavedModel):
    """A model from a file whose weights are what a federation begins with; layers that were saved frozen stay so."""

    def initial(self, rng: np.random.Generator) -> Arrays:
        return self.trained


def _check_finite(model: Any, path: Path) -> None:
    for variable, array in zip(model.weights, model.get_weights(), strict=True):
        if array.dtype.kind == "f" and (odd := int(np.sum(~np.isfinite(array)))):
            raise InputError(
                f"model {path}: {odd:,} of the {array.size:,} values of {variable.name.partition(':')[0]!r} are "
                "infinite or not a number; expected finite weights. Train it again, at a lower learning rate, or take "
                "a file of before."
            )


def _ending_in_head(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the configuration of a functional model whose last layer is the head, without softmax, in float32."""
    ((name, *_),) = config["output_layers"]
    (last,) = [layer for layer in config["layers"] if layer["name"] == name]
    last["name"] = last["config"]["name"] = HEAD
    last["config"] |= {"activation": "linear", "dtype": "float32"}
    config["output_layers"][0][0] = HEAD
    return config


def _computing(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the configuration with the policy in force for layers that were saved with float32, but for the head."""
    policy = keras.mixed_precision.global_policy().name
    if policy == "float32":
        return config

    def changed(item: Any) -> None:
        if isinstance(item, dict):
            inner = item.get("config")
            if isinstance(inner, dict) and inner.get("dtype") == "float32" and item.get("class_name") not in _KEPT:
                inner["dtype"] = policy
        for part in item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ():
            changed(part)

    changed([layer for layer in config["layers"] if layer["name"] != HEAD])
    return config


class _File(Architecture):
    """Stands for the architecture of a file, known by its digest."""

    def __init__(self, name: str, digest: str) -> None:
        self._name, self._digest = name, digest

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self._digest

    def features(self, inputs: Any) -> Any:
        raise InputError(
            f"model {self._name!r}: a model from a file is used as a whole; expected a model by name, whose encoder "
            "can be put before another head."
        )


def _read(path: Path, input_shape: Sequence[int]) -> Any:
    """Returns a functional model that ends in its last layer with weights."""
    model = reading.read(path)
    if model.inputs is None:
        raise reading.unbuilt(path, input_shape)
    try:
        last = model.layers[-1]
        if type(last).__name__ == "Softmax" or (
            type(last).__name__ == "Activation" and last.activation.__name__ == "softmax"
        ):
            return keras.Model(model.input, last.input, name=model.name)
        return keras.Model(model.input, model.output, name=model.name)
    except Exception as error:  # a model without layers, or without inputs that are known
        raise reading.unreadable(path, str(error).strip() or type(error).__name__) from error

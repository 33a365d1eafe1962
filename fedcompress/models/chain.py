"""A chain of layers, walked once: which layer's channels feed which, as far as every layer keeps channels apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedcompress import keras
from fedcompress.errors import InputError

_WEIGHTED = ("Conv1D", "Conv2D", "Dense")
_CHANNELWISE = (
    *("InputLayer", "BatchNormalization", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "SpatialDropout2D"),
    *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D", "ZeroPadding2D"),
    *("MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D", "Flatten"),
)
SUPPORTED = sorted({*_WEIGHTED, *_CHANNELWISE} - {"InputLayer"})
"""Layers that channels can be followed through."""


@dataclass(frozen=True)
class Layer:
    """One layer with a kernel; positions are those among the model's weights.

    Attributes:
        name: Of the Keras layer.
        kernel: Position of the kernel (..., channels in, channels out).
        vectors: Positions of what holds a number for each output channel: bias, batch normalisation after it.
        repeats: Elements of its input that belong to one channel of the layer before: 1, or those of a flattened map.
        channels: Output channels.
    """

    name: str
    kernel: int
    vectors: tuple[int, ...]
    repeats: int
    channels: int


def trace(model: Any, name: str) -> tuple[Layer, ...]:
    """Returns the layers with kernels, from the input to the head.

    Args:
        model: A Keras model.
        name: Its name, for messages.

    Raises:
        InputError: A layer mixes or reorders channels in a way that is not known here, or layers are no chain.
    """
    positions = {id(v): i for i, v in enumerate(model.weights)}
    layers: list[Layer] = []
    repeats = 1
    for layer in model.layers:
        _refuse(name, layer)
        kind = type(layer).__name__
        of_layer = [positions[id(v)] for v in layer.weights]
        if kind in _WEIGHTED:
            layers.append(Layer(layer.name, of_layer[0], tuple(of_layer[1:]), repeats, int(layer.kernel.shape[-1])))
            repeats = 1
        elif kind == "Flatten" and layers:
            repeats = int(layer.output.shape[-1]) // layers[-1].channels
        elif kind == "BatchNormalization" and layers:
            if repeats > 1:
                raise _refusal(name, layer, "comes after Flatten")
            last = layers.pop()
            layers.append(Layer(last.name, last.kernel, (*last.vectors, *of_layer), last.repeats, last.channels))
    return tuple(layers)


def _refuse(name: str, layer: Any) -> None:
    kind = type(layer).__name__
    if kind not in (*_WEIGHTED, *_CHANNELWISE):
        raise _refusal(name, layer, "has no channels that could be followed")
    if len(layer.inbound_nodes) != 1 or isinstance(layer.input, list) or len(layer.outbound_nodes) > 1:
        raise _refusal(name, layer, "is where branches part or meet")
    if getattr(layer, "groups", 1) != 1 or getattr(layer, "data_format", None) == "channels_first":
        raise _refusal(name, layer, "has groups, or channels first")
    if kind == "BatchNormalization" and list(layer.axis) != [len(layer.output.shape) - 1]:
        raise _refusal(name, layer, "normalises another axis than channels")
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    if activation in ("softmax", "log_softmax") and layer.outbound_nodes:
        raise _refusal(name, layer, f"mixes channels by its {activation}")


def _refusal(name: str, layer: Any, reason: str) -> InputError:
    return InputError(
        f"model {name!r}: channels cannot be pruned: layer {layer.name!r} ({type(layer).__name__}) {reason}. "
        f'Supported are chains of {", ".join(SUPPORTED)}; use compression = "magnitude" for other models.'
    )


def adjusted(model: Any, *, factor: float = 1.0, masked: bool = False) -> Any:
    """Returns a model of the same variables, in which something is done to what each layer but the head puts out.

    Args:
        model: A chain that `trace` can follow. With a factor its layers lose their activations to the new model, so
            that it must not be used any more: give one that nothing else computes with.
        factor: On what a layer with a kernel computes, before its activation.
        masked: The new model has a further input (1, channels) for each layer with a kernel but the head, which what
            the next one reads of it is multiplied by: with zeros there it is the model without these channels.
    """
    with keras.LOCK:
        x, pending, masks = model.input, None, []
        *body, head = model.layers[1:]
        for layer in body:
            weighted = type(layer).__name__ in _WEIGHTED
            if pending is not None and (weighted or type(layer).__name__ == "Flatten"):
                x, pending = x * pending, None
            if weighted and factor != 1:
                activation, layer.activation = layer.activation, keras.activations.linear
                x = keras.layers.Activation(activation)(layer(x) * factor)
            else:
                x = layer(x)
            if weighted and masked:
                pending = keras.Input(batch_shape=(1, int(layer.kernel.shape[-1])))
                masks.append(pending)
        logits = head(x if pending is None else x * pending)
        return keras.Model([model.input, *masks] if masked else model.input, logits)

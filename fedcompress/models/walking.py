"""Functional models made anew: their layers called one after the other, with something changed on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedcompress import keras
from fedcompress.models.ties import trace


def walked(model: Any, inputs: Any, call: Callable[[Any, Any], Any]) -> Any:
    """Returns what comes out in the end.

    Args:
        model: Functional, with one input; each of its layers is used once.
        inputs: What goes in.
        call: Given a layer and what goes into it, a tensor or a list of them, returns what comes out of it.
    """
    tensors = {id(model.input): inputs}
    x = inputs
    for layer in model.layers[1:]:
        (node, *_) = layer.inbound_nodes
        before = [tensors[id(tensor)] for tensor in node.keras_inputs]
        x = call(layer, before if isinstance(node.call_args[0], list | tuple) else before[0])
        tensors[id(node.outputs)] = x
    return x


def adjusted(model: Any, *, factor: float = 1.0, masked: bool = False) -> Any:
    """Returns a model of the same variables, in which something is done to what each layer but the head puts out.

    Args:
        model: One that `trace` can follow. With a factor its layers lose their activations to the new model, so that it
            must not be used any more: give one that nothing else computes with.
        factor: On what a layer with a kernel computes, before its activation.
        masked: The new model has a further input (1, channels) for each set of channels but the head's, which what
            others read of it is multiplied by: with zeros there it is the model without these channels.
    """
    with keras.LOCK:
        sets = trace(model, model.name)
        masks = [keras.Input(batch_shape=(1, tied.channels)) for tied in sets[:-1]] if masked else []
        # What was flattened is masked before, where its channels lie side by side.
        read = [(k.layer, k.reads) for tied in sets for k in tied.kernels if not k.depthwise and k.repeats == 1]
        read += [(layer, number) for number, tied in enumerate(sets) for layer in tied.flattened]
        masks_of = {layer: masks[number] for layer, number in read if masked and number is not None}
        weighted = {kernel.layer for tied in sets[:-1] for kernel in tied.kernels} if factor != 1 else set()

        def call(layer: Any, x: Any) -> Any:
            if layer.name in masks_of:
                mask = masks_of[layer.name]
                x = x * (mask if mask.dtype == x.dtype else keras.tf.cast(mask, x.dtype))
            if layer.name not in weighted:
                return layer(x)
            activation, layer.activation = layer.activation, keras.activations.linear
            return keras.layers.Activation(activation)(layer(x) * factor)

        logits = walked(model, model.input, call)
        return keras.Model([model.input, *masks] if masked else model.input, logits)

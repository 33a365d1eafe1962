"""quantise: train with rounded weights, so that the network learns to bear it; with a sparsity, prune as well.

Quantisation-aware training (Jacob et al. 2018) keeps float weights under the rounded ones that the network computes
with; quantisation-aware pruning (Hawks et al. 2021, "Ps and Qs") does so under a mask. The weights that training
returns are rounded: what a device gets, what is sent, what is scored.

Not rounded: inputs, logits, normalisation, what comes out of a layer without an activation function. Activations, where
they are rounded, are so after each activation function, during training; what a federation scores computes with float
activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedcompress import keras
from fedcompress.compression import quantisers
from fedcompress.compression.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.pruning import PruningWrapping
from fedcompress.compression.quantisers import FLOAT_BITS, Kind
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays

UNSIGNED = frozenset({"relu", "relu6", "sigmoid", "softplus"})
"""Activation functions that make no negative values."""

MOMENTUM = 0.9
"""Of the running ranges of activations, from step to step."""


class QuantiseParams(MagnitudeParams):
    """Parameters of quantisation; those of pruning matter where the group has a sparsity."""

    weights: Literal["uniform", "fixed", "ternary"] = Field(
        "uniform", description="uniform: by each tensor's largest magnitude; fixed: fixed point; ternary: -a, 0, a"
    )
    biases: Kind = Field("float", description="likewise, or float: in integer arithmetic they have 32 bits")
    activations: Kind = Field("float", description="likewise, of each activation's output")
    integer: int = Field(0, ge=-8, le=15, description="fixed: bits left of the point of weights and biases, sign apart")
    activation_bits: int | None = Field(None, ge=2, le=16, description="default: as weights")
    activation_integer: int = Field(2, ge=-8, le=15, description="fixed: bits left of the point of activations")


class Quantise(Magnitude):
    """Rounded weights, and masks where there is a sparsity."""

    Params = QuantiseParams
    params: QuantiseParams
    widths: ClassVar[frozenset[int]] = frozenset({*range(2, 17), FLOAT_BITS})

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.params.weights, self.params.biases, self.params.activations

    @property
    def numbers(self) -> tuple[np.float32, ...]:
        """Bits and integer bits of weights and biases, bits and integer bits of activations."""
        asked = self.params
        of_activations = self.bits if asked.activation_bits is None else asked.activation_bits
        values = (self.bits, asked.integer, of_activations, asked.activation_integer)
        return tuple(map(np.float32, values))

    def wrapping(self) -> QuantiseWrapping:
        return QuantiseWrapping(self.params)

    def inputs(
        self, weights: Arrays, spec: ModelSpec, round_number: int, masks: Arrays | None, counts: Sequence[int]
    ) -> list[Any]:
        return [*self.numbers, *super().inputs(weights, spec, round_number, masks, counts)]

    def network(self, model: Any, observed: Arrays) -> Any:
        """Returns a Keras model with the same layers, whose activations are rounded as in training.

        It consists of nothing but Keras and TensorFlow: saved, it can be loaded without fedcompress.

        Args:
            model: Functional, with the trained weights.
            observed: `Trained.observed`: ranges of the activations.
        """
        _, _, bits, integer = self.numbers
        kind = self.params.activations
        if kind == "float" or bits == FLOAT_BITS:
            return model
        tensors = {id(tensor): tensor for tensor in model.inputs}
        ranges = iter(observed)
        for layer in model.layers:
            for node in tuple(layer.inbound_nodes):  # calling a layer adds to them
                if node.is_input:
                    continue
                args, kwargs = keras.tf.nest.map_structure(
                    lambda item: tensors.get(id(item), item), (node.call_args, node.call_kwargs)
                )
                y = layer(*args, **kwargs)
                function = activation_of(layer) if rounds_activation(layer) else None
                if function is not None:
                    y = _rounds_output(y, function, kind, int(bits), int(integer), ranges)
                tensors[id(node.outputs)] = y
        return keras.Model(model.inputs, [tensors[id(tensor)] for tensor in model.outputs], name=model.name)

    def rounded(self, weights: Arrays, spec: ModelSpec) -> Arrays:
        if self.bits == FLOAT_BITS:
            return weights
        bits, integer, *_ = self.numbers
        result = list(weights)
        for kind, positions in ((self.params.weights, spec.prunable), (self.params.biases, spec.biases)):
            for i in positions:
                result[i] = rounded(keras.tf.constant(weights[i]), kind, bits, integer).numpy()
        return result


def _rounds_output(y: Any, function: str, kind: Kind, bits: int, integer: int, observed: Iterator[NDArray[Any]]) -> Any:
    """Returns a Keras tensor of activations, rounded by operations that are saved with the model."""
    tf = keras.tf
    if kind == "ternary":
        threshold, scale = map(float, next(observed))
        return tf.where(tf.abs(y) > threshold, tf.sign(y) * scale, 0.0)
    if kind == "uniform":
        low, high = map(float, next(observed))
    else:
        low, high, _ = map(float, quantisers.fixed_range(bits, integer, signed=function not in UNSIGNED))
    if low == high:  # activations that were always zero
        return y
    return tf.quantization.fake_quant_with_min_max_args(y, min=low, max=high, num_bits=bits)


def rounded(values: Any, kind: Kind, bits: Any, integer: Any) -> Any:
    """Returns weights or biases, rounded; a tensor.

    Args:
        values: Tensor of any shape.
        kind: How.
        bits: Scalar float32; 32 leaves the values as they are.
        integer: Scalar float32, for "fixed".
    """
    if kind == "uniform":
        return quantisers.uniform(values, bits)
    if kind == "fixed":
        return quantisers.fixed(values, bits, integer)
    if kind == "ternary":
        return keras.tf.where(bits >= FLOAT_BITS, values, quantisers.ternary(values))
    return values


class QuantiseWrapping(PruningWrapping):
    """Layers that compute with rounded weights, under tfmot's pruning wrappers; every width in one graph."""

    def __init__(self, params: QuantiseParams) -> None:
        self._params = params
        self._ranges: list[Any] = []

    def wrap(self, model: Any) -> Any:
        self._numbers = [keras.tf.Variable(0.0, trainable=False) for _ in range(4)]
        return super().wrap(model)

    def layer(self, layer: Any) -> Any:
        return rounding_layer(layer, self._rounded_weights, self._rounded_outputs)

    def other_layer(self, layer: Any) -> Any:
        if self._params.activations == "float" or not rounds_activation(layer):
            return layer
        return rounding_layer(layer, lambda _: {}, self._rounded_outputs)

    def begin(self, inputs: Sequence[Any]) -> None:
        for variable, value in zip(self._numbers, inputs, strict=False):
            variable.assign(value)
        for variable in self._ranges:
            variable.assign([0.0, 0.0])
        super().begin(inputs[len(self._numbers) :])

    def observed(self) -> Sequence[Any]:
        return self._ranges

    def _rounded_weights(self, layer: Any) -> dict[str, Any]:
        bits, integer = self._numbers[:2]
        kinds = {"kernel": self._params.weights, "bias": self._params.biases}
        present = {name: getattr(layer, name, None) for name in kinds}
        return {name: rounded(v, kinds[name], bits, integer) for name, v in present.items() if v is not None}

    def _rounded_outputs(self, layer: Any) -> Any:
        """Returns what rounds a layer's output, None if nothing does."""
        function = activation_of(layer)
        kind = self._params.activations
        if kind == "float" or function is None:
            return None
        bits, integer = self._numbers[2:]
        if kind == "fixed":
            return lambda x, training: quantisers.fixed(x, bits, integer, signed=function not in UNSIGNED)
        tf = keras.tf
        # The range of the activations, or threshold and scale of ternary ones: of the batch in training, and from there
        # on a running mean that starts with the first batch.
        kept = tf.Variable([0.0, 0.0], trainable=False, dtype=tf.float32)
        self._ranges.append(kept)

        def round_output(x: Any, training: bool) -> Any:
            if kind == "uniform":
                now = tf.stack([tf.minimum(tf.reduce_min(x), 0.0), tf.maximum(tf.reduce_max(x), 0.0)])
            else:
                now = tf.stack(quantisers.ternary_constants(x))
            now = tf.stop_gradient(now)
            if training:
                first = tf.reduce_all(tf.equal(kept, 0.0))
                kept.assign(tf.where(first, now, MOMENTUM * kept + (1 - MOMENTUM) * now))
            first_number, second = tf.unstack(now if training else kept)
            if kind == "uniform":
                return quantisers.affine(x, bits, first_number, second)
            return tf.where(bits >= FLOAT_BITS, x, quantisers.apply_ternary(x, first_number, second))

        return round_output


def rounds_activation(layer: Any) -> bool:
    """Says whether a layer is one whose output is rounded: it has a kernel that is trained, or is an activation."""
    return type(layer).__name__ in ("Activation", "ReLU") or (hasattr(layer, "kernel") and bool(layer.trainable))


def activation_of(layer: Any) -> str | None:
    """Returns the name of the function that ends a layer, None if it is linear or a softmax."""
    name = type(layer).__name__
    if name == "ReLU":
        return "relu"
    function = getattr(getattr(layer, "activation", None), "__name__", None)
    return None if function in (None, "linear", "softmax") else str(function)


def rounding_layer(layer: Any, weights: Any, outputs: Any) -> Any:
    """Returns a layer that does what `layer` does, with rounded weights and outputs; it shares the variables.

    Args:
        layer: Built.
        weights: Given the layer, returns attribute name -> rounded tensor, in the graph.
        outputs: Given the layer, returns a function (output, training) -> rounded output, or None.
    """
    round_output = outputs(layer)

    class RoundingLayer(keras.layers.Wrapper):  # type: ignore[misc]
        def get_prunable_weights(self) -> list[Any]:
            return [self.layer.kernel]

        def call(self, inputs: Any, training: Any = None) -> Any:
            own, in_place = self.layer.__dict__, weights(self.layer)
            held = {name: own[name] for name in in_place}
            own.update(in_place)  # not by assignment, which would have Keras track the tensors
            try:
                result = self.layer.call(inputs)
            finally:
                own.update(held)
            return result if round_output is None else round_output(result, bool(training))

    return RoundingLayer(layer, name=f"rounding_{layer.name}")

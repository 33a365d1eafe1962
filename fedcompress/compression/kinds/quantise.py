"""quantise: train with rounded weights, so that the network learns to bear it; with a sparsity, prune as well.

Quantisation-aware training (Jacob et al. 2018) keeps float weights under the rounded ones that the network computes
with; quantisation-aware pruning (Hawks et al. 2021, "Ps and Qs") does so under a mask. The weights that training
returns are rounded: what a device gets, what is sent, what is scored.

Not rounded: inputs, logits, normalisation, what comes out of a layer without an activation function. Activations, where
they are rounded, are so after each activation function, during training; what a federation scores computes with float
activations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedcompress import keras
from fedcompress.compression import quantisers
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.pruning import PruningWrapping
from fedcompress.compression.quantisers import FLOAT_BITS, Kind
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.kernels import biases, is_functional, replaced, simple_layers
from fedcompress.wire.content import Arrays

LAYERS = {
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "ThresholdedReLU": "thresholded_relu",
}
"""Kinds of layers that are activation functions of their own -> the names of these."""

UNSIGNED = frozenset({"relu", "relu6", "sigmoid", "softplus", "thresholded_relu"})
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
        params = self.params
        of_activations = self.bits if params.activation_bits is None else params.activation_bits
        return tuple(map(np.float32, (self.bits, params.integer, of_activations, params.activation_integer)))

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
        ranges = iter(observed)
        rounds = {}
        for layer, function in rounded_activations(model):
            limits = _limits(function, kind, int(bits), int(integer), ranges)
            rounds[id(layer)] = partial(_rounds_output, kind=kind, bits=int(bits), limits=limits)
        return _rebuilt(model, rounds)

    def rounded(self, weights: Arrays, spec: ModelSpec) -> Arrays:
        if self.bits == FLOAT_BITS:
            return weights
        bits, integer, *_ = self.numbers
        result = list(weights)
        for kind, positions in ((self.params.weights, spec.prunable), (self.params.biases, spec.biases)):
            for i in positions:
                if kind == "ternary" and _is_ternary(weights[i]):  # the mean of what is equal errs in its last bits
                    continue
                result[i] = rounded(keras.tf.constant(weights[i]), kind, bits, integer).numpy()
        return result


def _is_ternary(array: NDArray[Any]) -> bool:
    """Says whether all that is not zero has one magnitude."""
    magnitudes = np.abs(array[array != 0])
    return not magnitudes.size or bool(magnitudes.min() == magnitudes.max())


def _limits(
    function: str, kind: Kind, bits: int, integer: int, observed: Iterator[NDArray[Any]]
) -> tuple[float, float]:
    """Returns the least and the largest activation; of ternary ones threshold and scale."""
    if kind == "fixed":
        low, high, _ = quantisers.fixed_range(bits, integer, signed=function not in UNSIGNED)
    else:
        low, high = next(observed)
    return float(low), float(high)


def _rounds_output(y: Any, kind: Kind, bits: int, limits: tuple[float, float]) -> Any:
    """Returns a Keras tensor of activations, rounded by operations that are saved with the model."""
    tf, (low, high) = keras.tf, limits
    x = y if y.dtype == tf.float32 else tf.cast(y, tf.float32)
    if kind == "ternary":
        rounded = tf.where(tf.abs(x) > low, tf.sign(x) * high, 0.0)
    elif low == high:  # activations that were always zero
        return y
    else:
        rounded = tf.quantization.fake_quant_with_min_max_args(x, min=low, max=high, num_bits=bits)
    return rounded if x is y else tf.cast(rounded, y.dtype)


def _rebuilt(model: Any, rounds: Mapping[int, Callable[[Any], Any]]) -> Any:
    """Returns a functional model of the same layers, with something after the outputs of some.

    Args:
        model: Functional; so may be models inside it, which are made anew likewise.
        rounds: `id` of a layer -> what is made of its output, at each of its calls.
    """
    flatten = keras.tf.nest.flatten
    tensors = {id(tensor): tensor for tensor in model.inputs}
    inner = {id(layer): _rebuilt(layer, rounds) for layer in model.layers if is_functional(layer)}
    waiting = [(layer, node) for layer in model.layers for node in tuple(layer.inbound_nodes) if not node.is_input]
    while waiting:
        ready = [pair for pair in waiting if all(id(t) in tensors for t in flatten(pair[1].keras_inputs))]
        for layer, node in ready:
            args, kwargs = keras.tf.nest.map_structure(
                lambda item: tensors.get(id(item), item), (node.call_args, node.call_kwargs)
            )
            outputs = inner.get(id(layer), layer)(*args, **kwargs)
            if id(layer) in rounds:
                outputs = rounds[id(layer)](outputs)
            tensors.update(zip(map(id, flatten(node.outputs)), flatten(outputs), strict=True))
        if not ready:  # the rest are calls of the same layers in other models
            break
        waiting = [pair for pair in waiting if pair not in ready]
    return keras.Model(model.inputs, [tensors[id(tensor)] for tensor in model.outputs], name=model.name)


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
    """Has layers compute with rounded weights, under tfmot's pruning; every width in one graph."""

    def __init__(self, params: QuantiseParams) -> None:
        self._params = params
        self._ranges: list[Any] = []

    def wrap(self, model: Any) -> Any:
        self._numbers = [keras.tf.Variable(0.0, trainable=False) for _ in range(4)]
        wrapped = super().wrap(model)
        self._biases = biases(model)
        if self._params.activations != "float":
            for layer, function in rounded_activations(wrapped):
                _after(layer, self._rounded_output(function))
        return wrapped

    def begin(self, inputs: Sequence[Any]) -> None:
        for variable, value in zip(self._numbers, inputs, strict=False):
            variable.assign(value)
        for variable in self._ranges:
            variable.assign([0.0, 0.0])
        super().begin(inputs[len(self._numbers) :])

    @contextmanager
    def step(self) -> Iterator[None]:
        bits, integer = self._numbers[:2]
        with super().step():
            kinds = ((self.kernels, self._params.weights), (self._biases, self._params.biases))
            tensors = [(w, rounded(w.variable, kind, bits, integer)) for weights, kind in kinds for w in weights]
            with replaced(tensors):
                yield

    def observed(self) -> Sequence[Any]:
        return self._ranges

    def _rounded_output(self, function: str) -> Callable[[Any], Any]:
        """Returns what rounds the output of a layer that ends in an activation function."""
        kind = self._params.activations
        bits, integer = self._numbers[2:]
        if kind == "fixed":
            return lambda x: quantisers.fixed(x, bits, integer, signed=function not in UNSIGNED)
        tf = keras.tf
        # The range of the activations, or threshold and scale of ternary ones: what counts is that of the batch; what
        # stays is a running mean that starts with the first batch.
        running = tf.Variable([0.0, 0.0], trainable=False, dtype=tf.float32)
        self._ranges.append(running)

        def round_output(x: Any) -> Any:
            if kind == "uniform":
                now = tf.stack([tf.minimum(tf.reduce_min(x), 0.0), tf.maximum(tf.reduce_max(x), 0.0)])
            else:
                now = tf.stack(quantisers.ternary_constants(x))
            now = tf.stop_gradient(now)
            first = tf.reduce_all(tf.equal(running, 0.0))
            running.assign(tf.where(first, now, MOMENTUM * running + (1 - MOMENTUM) * now))
            first_number, second = tf.unstack(now)
            if kind == "uniform":
                return quantisers.affine(x, bits, first_number, second)
            return tf.where(bits >= FLOAT_BITS, x, quantisers.apply_ternary(x, first_number, second))

        return round_output


def rounded_activations(model: Any) -> list[tuple[Any, str]]:
    """Returns the layers whose output is rounded, and the activation functions that they end in.

    They have kernels that are trained, or are activations; a softmax is not rounded.
    """
    pairs = [(layer, activation_of(layer)) for layer in simple_layers(model)]
    return [(layer, function) for layer, function in pairs if function is not None and _computes(layer)]


def _computes(layer: Any) -> bool:
    has_kernel = any(hasattr(layer, name) for name in ("kernel", "depthwise_kernel"))
    return type(layer).__name__ in ("Activation", *LAYERS) or (has_kernel and bool(layer.trainable))


def activation_of(layer: Any) -> str | None:
    """Returns the name of the function that ends a layer, None if it is linear or a softmax."""
    name = type(layer).__name__
    if name in LAYERS:
        return "leaky_relu" if name == "ReLU" and layer.negative_slope else LAYERS[name]
    activation = getattr(layer, "activation", None)
    if isinstance(activation, keras.layers.Layer):
        return activation_of(activation)
    function = getattr(activation, "__name__", None)
    return None if function in (None, "linear", "softmax") else str(function)


def _after(layer: Any, function: Callable[[Any], Any]) -> None:
    """Has a function follow every call of a layer; it is given float32, whatever the layer computes in."""
    call, tf = layer.call, keras.tf

    def followed(*args: Any, **kwargs: Any) -> Any:
        y = call(*args, **kwargs)
        return tf.cast(function(tf.cast(y, tf.float32)), y.dtype)

    layer.call = followed

"""What a model costs to run: multiply-adds, counted operation by operation while one example goes through it.

Counted are matrix products and convolutions, which is where the time goes; additions of biases, normalisation,
activations, pooling and look-ups in embeddings are not. A recurrent layer counts once for each time step, a layer that
is used twice counts twice. A masked weight is multiplied like any other; what hardware that skips zeros would do is
counted beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.errors import FedcompressError


class UncountedError(FedcompressError):
    """A model computes with an operation whose multiply-adds are not known here; the message names it."""


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one example.

    Attributes:
        multiply_adds: By the network's shape.
        nonzero: Those with a weight that is not zero.
    """

    multiply_adds: int
    nonzero: int


def cost(model: Any) -> Cost:
    """Returns what a forward pass of one example through a Keras model costs; the weights decide what is zero.

    Raises:
        UncountedError: It cannot be told.
    """
    return traced(lambda x: model(x, training=False), _example(model))


def multiply_adds(model: Any, *, training: bool = False) -> int:
    """Returns the multiply-adds of one example through a Keras model.

    Args:
        model: With one input; its batch size is left open.
        training: Of a training step, forward and backward to the trainable variables; otherwise of a forward pass.

    Raises:
        UncountedError: They cannot be told.
    """
    variables = model.trainable_variables

    def step(x: Any) -> Any:
        with keras.tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            total = keras.tf.add_n([keras.tf.reduce_sum(y) for y in keras.tf.nest.flatten(model(x, training=True))])
        return [total, *(g for g in tape.gradient(total, variables) if g is not None)]

    return traced(step, _example(model)).multiply_adds if training else cost(model).multiply_adds


def _example(model: Any) -> Any:
    return keras.tf.TensorSpec([1, *model.input_shape[1:]], model.inputs[0].dtype)


def traced(function: Callable[..., Any], *inputs: Any) -> Cost:
    """Returns what is behind the outputs of a function on tensors of fixed shapes (`tf.TensorSpec`).

    Raises:
        UncountedError: It cannot be told.
    """
    tf = keras.tf
    tensors = [tf.zeros(spec.shape, spec.dtype) for spec in inputs]
    with keras.every_operation() as operations:
        outputs = tf.nest.flatten(function(*tensors))
    return _Trace(operations, tensors).behind([tensor for tensor in outputs if tensor is not None])


class _Trace:
    """Operations in the order in which they ran. It holds their tensors, which are told apart by identity."""

    def __init__(self, operations: Sequence[keras.Operation], inputs: Sequence[Any]) -> None:
        self._operations = operations
        self._maker = {id(tensor): op for op in operations for tensor in op.outputs}
        # What does not follow from the inputs is fixed: a weight, or a constant.
        self._varying = {id(tensor) for tensor in inputs}
        for op in operations:
            if any(id(tensor) in self._varying for tensor in op.inputs):
                self._varying |= {id(tensor) for tensor in op.outputs}

    def behind(self, outputs: Sequence[Any]) -> Cost:
        """Returns what the operations cost that the outputs need; what was computed for nothing is left out."""
        needed = {id(op): op for op in self._needed(outputs)}
        # A dilated convolution works on parts that are put together, and cropped, afterwards.
        cropped = {id(op.inputs[0]): op.outputs[0] for op in needed.values() if op.kind == "BatchToSpaceND"}
        total = nonzero = 0
        for op in needed.values():
            if op.kind in _COUNTS:
                count = _COUNTS[op.kind](op, cropped.get(id(op.outputs[0]), op.outputs[0]))
                total += count
                nonzero += self._nonzero(op, count)
            elif _OPAQUE.search(op.kind):
                raise UncountedError(f"multiply-adds are not known: the model computes with {op.kind}")
        return Cost(total, nonzero)

    def _needed(self, outputs: Sequence[Any]) -> Iterator[keras.Operation]:
        waiting, known = [id(tensor) for tensor in outputs], set()
        while waiting:
            op = self._maker.get(waiting.pop())
            if op is not None and id(op) not in known:
                known.add(id(op))
                waiting += [id(tensor) for tensor in op.inputs]
                yield op

    def _nonzero(self, op: keras.Operation, count: int) -> int:
        """Each weight of a product or a convolution works equally often. A state that is still zero is no weight."""
        for tensor in reversed(op.inputs):
            if id(tensor) not in self._varying and len(tensor.shape) > 1:
                return count // int(tensor.shape.num_elements()) * int(np.count_nonzero(tensor.numpy()))
        return count


def _shape(tensor: Any) -> list[int]:
    return [int(size) for size in tensor.shape]


def _product(op: keras.Operation, output: Any) -> int:
    transposed = op.attributes.get("transpose_a", op.attributes.get("adj_x"))
    return prod(_shape(output)) * _shape(op.inputs[0])[-2 if transposed else -1]


def _einsum(op: keras.Operation, output: Any) -> int:
    """One multiply-add for each combination of all indices; those of an ellipsis are among the output's."""
    sizes: dict[str, int] = {}
    terms = str(keras.tf.compat.as_text(op.attributes["equation"])).partition("->")[0].split(",")
    for term, tensor in zip(terms, op.inputs, strict=True):
        before, dots, after = term.strip().partition("...")
        shape = _shape(tensor)
        sizes |= zip(before, shape, strict=False)
        sizes |= zip(reversed(after), reversed(shape), strict=False)
        if dots:
            inner = shape[len(before) : len(shape) - len(after)]
            sizes["..."] = max(prod(inner), sizes.get("...", 1))
    return prod(sizes.values()) if len(terms) > 1 else 0


def _convolution(op: keras.Operation, output: Any) -> int:
    """Of a kernel (..., inputs, outputs) each weight works once for each position of the output."""
    return prod(_shape(output)) * prod(_shape(op.inputs[1])[:-1])


def _transposed(op: keras.Operation, output: Any) -> int:
    """Gradient of a convolution by its input, or a transposed convolution: once for each position of what goes in."""
    return prod(_shape(op.inputs[2])) * prod(_shape(op.inputs[1])[:-1])


def _by_kernel(op: keras.Operation, output: Any) -> int:
    """Gradient of a convolution by its kernel, which is the output."""
    return prod(_shape(op.inputs[2])) * prod(_shape(output)[:-1])


def _depthwise(op: keras.Operation, output: Any) -> int:
    """Of a kernel (height, width, inputs, multiplier)."""
    return prod(_shape(output)) * prod(_shape(op.inputs[1])[:2])


_COUNTS: dict[str, Callable[[keras.Operation, Any], int]] = {
    "MatMul": _product,
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    "Einsum": _einsum,
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed,
    "Conv2DBackpropFilter": _by_kernel,
    "Conv3D": _convolution,
    "Conv3DBackpropInputV2": _transposed,
    "Conv3DBackpropFilterV2": _by_kernel,
    "DepthwiseConv2dNative": _depthwise,
    "DepthwiseConv2dNativeBackpropInput": lambda op, _: prod(_shape(op.inputs[2])) * prod(_shape(op.inputs[1])[:2]),
    "DepthwiseConv2dNativeBackpropFilter": lambda op, out: prod(_shape(op.inputs[2])) * prod(_shape(out)[:2]),
}
"""Kind of an operation -> its multiply-adds, given its output as it is used."""

_OPAQUE = re.compile("Conv|MatMul|Dot|RNN|LSTM|GRU|^_Fused|PyFunc|Call|While|__inference|__forward")
"""Operations that may multiply, but say nothing that could be counted."""

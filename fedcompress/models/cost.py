"""What a model costs to run: multiply-adds, counted operation by operation in the traced graph of one example.

Counted are matrix products and convolutions, which is where the time goes; additions of biases, normalisation,
activations and pooling are not. A masked weight is multiplied like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from fedcompress import keras


def multiply_adds(model: Any, *, training: bool = False) -> int:
    """Returns the multiply-adds of one example through a Keras model.

    Args:
        model: With one input; its batch size is left open.
        training: Of a training step, forward and backward to the trainable variables; otherwise of a forward pass.
    """
    variables = model.trainable_variables

    def run(x: Any) -> Any:
        if not training:
            return model(x, training=False)
        with keras.tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            total = keras.tf.add_n([keras.tf.reduce_sum(y) for y in keras.tf.nest.flatten(model(x, training=True))])
        return [total, *(g for g in tape.gradient(total, variables) if g is not None)]

    return traced(run, keras.tf.TensorSpec([1, *model.input_shape[1:]], model.inputs[0].dtype))


def traced(function: Callable[..., Any], *inputs: Any) -> int:
    """Returns the multiply-adds behind the outputs of a function on tensors of fixed shapes (`tf.TensorSpec`)."""
    with keras.LOCK:
        graph = keras.tf.function(function, input_signature=inputs, autograph=False).get_concrete_function().graph
    needed: set[Any] = set()
    waiting = [tensor.op for tensor in graph.outputs]
    while waiting:
        if (operation := waiting.pop()) not in needed:
            needed.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    return sum(_COUNTS[op.type](op) for op in needed if op.type in _COUNTS)


def _shape(tensor: Any) -> list[int]:
    return [int(size) for size in tensor.shape]


def _product(op: Any) -> int:
    transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
    inner = _shape(op.inputs[0])[-2 if transposed else -1]
    return prod(_shape(op.outputs[0])) * inner


_COUNTS: dict[str, Callable[[Any], int]] = {
    "MatMul": _product,
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    # Of a kernel (height, width, inputs, outputs) each weight works once for each position of the forward pass' output.
    "Conv2D": lambda op: prod(_shape(op.outputs[0])) * prod(_shape(op.inputs[1])[:3]),
    "Conv2DBackpropInput": lambda op: prod(_shape(op.inputs[2])) * prod(_shape(op.inputs[1])[:3]),
    "Conv2DBackpropFilter": lambda op: prod(_shape(op.inputs[2])) * prod(_shape(op.outputs[0])[:3]),
    "DepthwiseConv2dNative": lambda op: prod(_shape(op.outputs[0])) * prod(_shape(op.inputs[1])[:2]),
    "DepthwiseConv2dNativeBackpropInput": lambda op: prod(_shape(op.inputs[2])) * prod(_shape(op.inputs[1])[:2]),
    "DepthwiseConv2dNativeBackpropFilter": lambda op: prod(_shape(op.inputs[2])) * prod(_shape(op.outputs[0])[:2]),
}

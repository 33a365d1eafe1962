"""TFLite files: converting a model, running it, timing it."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras

Form = Literal["float32", "float16", "dynamic-range", "int8"]

BATCH = 500
CALIBRATION = 300
"""Examples at most that ranges of activations are taken from."""

RUNS = 200
"""Timed runs of a single example, after a tenth as many that are not timed."""


def convert(model: Any, form: Form = "float32", examples: NDArray[Any] | None = None) -> bytes:
    """Returns a Keras model as a TFLite file.

    Args:
        model: With one input and one output.
        form: float16: weights stored in half precision, computed with in float32. dynamic-range: weights stored as
            int8, activations rounded to int8 as they come. int8: both, by ranges that are measured beforehand.
        examples: Inputs (n, ...) to measure them on, for int8.
    """
    tf = keras.tf
    shape = [None, *model.input_shape[1:]]
    with keras.LOCK, keras.silent_stderr():
        function = tf.function(lambda x: model(x, training=False), autograph=False)
        concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
        if form != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if form == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if form == "int8":
            assert examples is not None
            sample = as_float(examples[:CALIBRATION])
            converter.representative_dataset = lambda: ([x[np.newaxis]] for x in sample)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        data: bytes = converter.convert()
    return data


def as_float(x: NDArray[Any]) -> NDArray[np.float32]:
    """Returns inputs as a model sees them: uint8 in [0, 255] becomes [0, 1]."""
    return (x / np.float32(255.0)).astype(np.float32) if x.dtype == np.uint8 else x.astype(np.float32, copy=False)


def _interpreter(data: bytes, batch: int) -> Any:
    with keras.silent_stderr():
        interpreter = keras.tf.lite.Interpreter(model_content=data, num_threads=1)
        details = interpreter.get_input_details()[0]
        interpreter.resize_tensor_input(details["index"], [batch, *details["shape"][1:]])
        interpreter.allocate_tensors()
    return interpreter


def predict(data: bytes, x: NDArray[Any]) -> NDArray[np.float32]:
    """Returns what a TFLite file makes of inputs (n, ...): logits (n, classes)."""
    parts, ready, size = [], None, 0
    for start in range(0, len(x), BATCH):
        batch = as_float(x[start : start + BATCH])
        if len(batch) != size:
            ready, size = _interpreter(data, len(batch)), len(batch)
        parts.append(_run(ready, batch))
    return np.concatenate(parts)


def _run(interpreter: Any, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
    interpreter.invoke()
    output: NDArray[np.float32] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


def latency(data: bytes, x: NDArray[Any], runs: int = RUNS) -> float:
    """Returns the median time for one example on one thread of this machine, in microseconds."""
    interpreter = _interpreter(data, 1)
    one, seconds = as_float(x[:1]), []
    for run in range(runs + runs // 10):
        started = time.perf_counter()
        _run(interpreter, one)
        if run >= runs // 10:
            seconds.append(time.perf_counter() - started)
    return float(np.median(seconds) * 1e6)

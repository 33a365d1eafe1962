"""TFLite files: converting a model, running it, timing it."""

from __future__ import annotations

import re
import time
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.data.splits import spread
from fedcompress.errors import FedcompressError, first_line
from fedcompress.models.kernels import simple_layers
from fedcompress.models.normalised import plainly_grouped

Form = Literal["float32", "float16", "dynamic-range", "int8"]

BATCH = 500
CALIBRATION = 300
"""Examples at most that ranges of activations are taken from, spread over all of them."""

MOST_UNROLLED = 100
"""Time steps up to which a recurrent layer is unrolled: each is a copy of its operations in the file."""

RUNS = 200
"""Timed runs of a single example, after a tenth as many that are not timed."""


class ConversionError(FedcompressError):
    """TFLite has no form of a model; the message says why, in one line."""


def convert(model: Any, form: Form = "float32", examples: NDArray[Any] | None = None) -> bytes:
    """Returns a Keras model as a TFLite file.

    It computes in float32, and loops of recurrent layers are unrolled unless they are long. What TFLite's own
    operations do not cover is tried again with operations of TensorFlow, which a device has to bring along.

    Args:
        model: With one input and one output.
        form: float16: weights stored in half precision, computed with in float32. dynamic-range: weights stored as
            int8, activations rounded to int8 as they come. int8: both, by ranges that are measured beforehand.
        examples: Inputs (n, ...) to measure them on, for int8.

    Raises:
        ConversionError: Neither gives a file.
    """
    first: Exception | None = None
    for select in (False, True):
        try:
            with keras.LOCK, keras.silent_stderr(failing=True):
                return _converted(plainly_grouped(_plain(model)), select, form, examples)
        except Exception as error:  # whatever the converter raises
            first = first or error
    assert first is not None
    reason = re.sub(r"^.*?error: ", "", first_line(first, 10_000))[:200]
    raise ConversionError(f"TFLite cannot convert the model: {reason}") from first


def _converted(model: Any, select: bool, form: Form, examples: NDArray[Any] | None) -> bytes:
    """Returns a TFLite file; `select`: of operations of TensorFlow, too."""
    tf = keras.tf
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec([None, *model.input_shape[1:]], tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    operations = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form == "int8":
        assert examples is not None
        sample = as_float(examples[spread(len(examples), CALIBRATION)])
        converter.representative_dataset = lambda: ([x[np.newaxis]] for x in sample)
        operations = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if select:
        converter._experimental_lower_tensor_list_ops = False
        operations.append(tf.lite.OpsSet.SELECT_TF_OPS)
    converter.target_spec.supported_ops = operations
    data: bytes = converter.convert()
    return data


def operations(data: bytes) -> Literal["builtin", "select-TF"]:
    """Says whether a TFLite file is made of TFLite's own operations, or needs some of TensorFlow."""
    file = keras.TFLiteFile.GetRootAs(data)
    codes = [file.OperatorCodes(i).CustomCode() or b"" for i in range(file.OperatorCodesLength())]
    return "select-TF" if any(code.startswith(b"Flex") for code in codes) else "builtin"


def _plain(model: Any) -> Any:
    """Returns a Keras model in float32 and without short loops: itself, or a copy, if its layers can be made anew."""
    recurrent = (keras.layers.RNN, keras.layers.Bidirectional)
    try:
        steps = [_steps(layer) for layer in simple_layers(model) if isinstance(layer, recurrent)]
        config = model.get_config()
        changed = _changed(config, all(count is not None and count <= MOST_UNROLLED for count in steps))
        if changed == config:
            return model
        copy = type(model).from_config(changed)
    except Exception:  # a layer of the user's own that has no configuration, or is called by one that is
        return model
    copy.set_weights(model.get_weights())
    return copy


def _steps(layer: Any) -> int | None:
    """Returns how many time steps a recurrent layer sees, None if that is open."""
    shape = layer.get_input_shape_at(0)
    sequence = shape[0] if isinstance(shape, list) else shape  # with initial states behind it
    steps: int | None = sequence[1]
    return steps


def _changed(config: Any, unroll: bool) -> Any:
    """Returns a nested configuration of layers with float32 for every policy, and with loops unrolled."""
    if isinstance(config, dict):
        fixed: dict[str, Any] = {"dtype": "float32"} if "mixed_" in str(config.get("dtype", "")) else {}
        if unroll and "unroll" in config:
            fixed["unroll"] = True
        return {key: fixed.get(key, _changed(value, unroll)) for key, value in config.items()}
    return type(config)(_changed(item, unroll) for item in config) if isinstance(config, list | tuple) else config


def as_float(x: NDArray[Any]) -> NDArray[np.float32]:
    """Returns inputs as a model sees them: uint8 in [0, 255] becomes [0, 1]."""
    return (x / np.float32(255.0)).astype(np.float32) if x.dtype == np.uint8 else x.astype(np.float32, copy=False)


def _interpreter(data: bytes, batch: int) -> Any:
    with keras.silent_stderr(failing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the interpreter is to move to another package
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
    try:
        interpreter.invoke()
    except RuntimeError as error:
        raise ConversionError(f"TFLite cannot run the model here: {first_line(error, 120)}") from error
    output: NDArray[np.float32] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


def blank(data: bytes) -> NDArray[np.float32]:
    """Returns an input of zeros, (1, ...), of a TFLite file: what it takes to run does not depend on the input."""
    return np.zeros(_interpreter(data, 1).get_input_details()[0]["shape"], np.float32)


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

"""TFLite files of models that TFLite's own operations do not cover as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression import tflite


def chain(*layers: str, policy: str = "float32") -> Any:
    keras.mixed_precision.set_global_policy(policy)
    try:
        made = [eval(layer, {"L": keras.layers}) for layer in layers]
        return keras.Sequential([keras.Input((4, 3)), *made, keras.layers.Dense(2, dtype="float32")])
    finally:
        keras.mixed_precision.set_global_policy("float32")


def nested() -> Any:
    """A recurrent layer in both directions, inside a nested model."""
    inner = keras.Sequential([keras.Input((4, 3)), keras.layers.Bidirectional(keras.layers.SimpleRNN(2))])
    inputs = keras.Input((4, 3))
    return keras.Model(inputs, keras.layers.Dense(2)(inner(inputs)))


def with_states() -> Any:
    inputs = keras.Input((4, 3))
    sequence, *states = keras.layers.LSTM(2, return_sequences=True, return_state=True)(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.LSTM(2)(sequence, initial_state=states)))


def called_flex() -> Any:
    """Of itself and of its layers, as TFLite calls operations of TensorFlow: Flex and their kind."""
    inputs = keras.Input((4, 3), name="FlexInput")
    x = keras.layers.Dense(2, name="FlexMatMul")(keras.layers.Flatten(name="Flex")(inputs))
    return keras.Model(inputs, x, name="FlexNet")


@pytest.mark.parametrize(
    "make",
    [
        lambda: chain("L.LSTM(3)"),
        nested,
        with_states,
        called_flex,
        lambda: chain("L.Conv1D(3, 2, activation='relu')", "L.Flatten()", policy="mixed_float16"),
    ],
    ids=["lstm", "nested", "states", "names", "half precision"],
)
def test_recurrent_layers_and_half_precision_are_converted(make: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Unrolled, and in float32: TFLite's own operations are enough, and its outputs are the model's."""
    model = make()
    data = tflite.convert(model)
    assert tflite.operations(data) == "builtin"
    x = np.random.default_rng(0).random((5, 4, 3), np.float32)
    np.testing.assert_allclose(tflite.predict(data, x), model.predict(x, verbose=0), atol=2e-3)
    assert capfd.readouterr().err == ""


def test_what_cannot_be_converted_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> bytes:
        raise ValueError("/tmp/x.py:3:1: error: 'tf.Odd' op is neither a custom op nor a flex op\n" + 100 * "stack\n")

    monkeypatch.setattr(tflite, "_converted", fails)
    with pytest.raises(tflite.ConversionError) as caught:
        tflite.convert(chain("L.Flatten()"))
    assert str(caught.value) == "TFLite cannot convert the model: 'tf.Odd' op is neither a custom op nor a flex op"


def test_what_is_too_long_to_unroll_needs_operations_of_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is whole, whether or not the interpreter that is installed can run it."""
    monkeypatch.setattr(tflite, "MOST_UNROLLED", 3)
    model = chain("L.GRU(2)")
    data = tflite.convert(model)
    assert tflite.operations(data) == "select-TF"
    x = np.ones((1, 4, 3), np.float32)
    try:
        np.testing.assert_allclose(tflite.predict(data, x), model.predict(x, verbose=0), atol=1e-5)
    except tflite.ConversionError as error:
        assert str(error).startswith("TFLite cannot run the model here: Select TensorFlow op(s)")


@pytest.mark.parametrize("count", [1, 299, 301, 2000])
def test_ranges_are_taken_from_all_parts_of_a_file(count: int) -> None:
    """In the order of its classes a file has its brightest examples last: outputs of the int8 file saturated there."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    x = np.linspace(0.1, 1.0, count, dtype=np.float32)[:, np.newaxis] ** 8
    outputs = tflite.predict(tflite.convert(model, "int8", x), x)
    np.testing.assert_allclose(outputs, x, atol=0.02)

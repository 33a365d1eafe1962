"""The one door to TensorFlow."""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from fedcompress import environment, keras
from graphs import all_kinds, kinds_in_loops


def test_generated_code_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control flow that depends on a tensor needs generated code: the sum of 0 to 9 is 45, of the even ones 20."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tf = keras.tf

    @tf.function
    def total(limit: int, even: bool) -> int:
        found = tf.constant(0)
        for i in tf.range(limit):
            if not even or i % 2 == 0:
                found += i
        return found

    assert int(total(tf.constant(10), tf.constant(False))) == 45
    assert int(total(tf.constant(10), tf.constant(True))) == 20
    assert not list(tmp_path.iterdir())


def test_the_body_of_a_loop_is_apart() -> None:
    """3 steps from 1 that double and add a variable, 5, which each step increments: 2 + 5, 14 + 6, 40 + 7."""
    tf = keras.tf
    variable = tf.Variable(5.0)

    def step(index: Any, value: Any) -> Any:
        after = 2.0 * value + variable
        variable.assign_add(1.0)
        return index + 1, after

    def run(body: Any) -> Any:
        variable.assign(5.0)
        return tf.while_loop(lambda index, _: index < 3, body, (tf.constant(0), tf.constant(1.0)))[1]

    apart, within = (
        tf.function(lambda body=body: run(body)).get_concrete_function() for body in (keras.apart(step), step)
    )
    assert float(apart()) == float(within()) == 47
    assert "Mul" in all_kinds(apart)
    assert "Mul" in kinds_in_loops(within)
    assert not {"Mul", "AssignAddVariableOp"} & kinds_in_loops(apart)


def test_generated_code_can_be_read(tmp_path: Path) -> None:
    generated = keras.tf.autograph.to_graph(_doubled)
    assert "def tf___doubled" in inspect.getsource(inspect.getmodule(generated))
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        generated(0)


def _doubled(x: int) -> float:
    if x > 1:
        x = x * 2
    return 1 / x


def test_masks_of_tfmot_do_without_keras_3() -> None:
    """Which would take most of the time until the first round, and which any other module can import all the same."""
    code = (
        "import sys\nfrom fedcompress import keras\nsaid = []\n"
        "with keras.announced(said.append):\n    keras.Pruning\n"
        "print(said, [name for name in ('keras', 'sklearn', 'matplotlib') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['importing TensorFlow'] []\n"


def test_seconds_of_building_count_once_where_one_thing_is_built_inside_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten seconds pass between any two looks at the clock: an outer block with two inner ones has 50."""
    monkeypatch.setattr(keras.time, "perf_counter", itertools.count(0, 10).__next__)
    before = keras.building_seconds()
    with keras.building():
        for key in ("one", "two", "two"):
            keras.compiled(("test", key), object)
    assert keras.building_seconds() - before == 50
    keras.compiled(("test", "one"), object)
    assert keras.building_seconds() - before == 50
    found: list[float] = []
    thread = Thread(target=lambda: found.append(keras.building_seconds()))
    thread.start()
    thread.join()
    assert found == [0.0]


def test_products_of_float32_are_of_float32_on_gpus_as_well() -> None:
    assert not keras.tf.config.experimental.tensor_float_32_execution_enabled()


ONE_THREAD = "tf.config.threading.set_intra_op_parallelism_threads(1)"


@pytest.mark.parametrize(("before", "warned"), [("", 1), (ONE_THREAD, 0)])
def test_a_process_that_has_used_tensorflow_before_goes_on(before: str, warned: int) -> None:
    """As a notebook does in which a model was trained by hand; its threads can no longer be set."""
    code = f"""
import warnings
import tensorflow as tf
{before}
assert int(tf.constant(1) + 1) == 2
from fedcompress import environment, keras
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    keras.tf
said = [w for w in seen if "computed with TensorFlow before fedcompress" in str(w.message)]
assert len(said) == {warned}, seen
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.mark.skipif(environment.ONEDNN not in environment.VARIABLES, reason="TensorFlow decides on this architecture")
@pytest.mark.parametrize(
    ("before", "asked", "enabled", "warned"),
    [
        ("", None, True, 0),
        ("", "0", False, 0),
        ("import tensorflow", "1", True, 0),
        ("import tensorflow", "0", False, 0),
    ],
)
def test_tensorflow_computes_by_onednn(before: str, asked: str | None, enabled: bool, warned: int) -> None:
    """By itself TensorFlow does so on some processors only; what the user has set wins."""
    code = f"""
{before}
import warnings
from fedcompress import environment, keras
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    keras.tf
from tensorflow.python.util import _pywrap_util_port
assert _pywrap_util_port.IsMklEnabled() is {enabled}
assert not [w for w in seen if "without oneDNN" in str(w.message)], seen
"""
    given = {name: value for name, value in os.environ.items() if name != environment.ONEDNN}
    given |= {} if asked is None else {environment.ONEDNN: asked}
    subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)


def test_who_imported_tensorflow_before_learns_that_it_computes_without_onednn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _ = keras.tf
    port = importlib.import_module("tensorflow.python.util._pywrap_util_port")
    monkeypatch.setenv(environment.ONEDNN, "1")
    monkeypatch.setattr(port, "IsMklEnabled", lambda: False)
    with pytest.warns(UserWarning, match="Set TF_ENABLE_ONEDNN_OPTS=1 before TensorFlow is imported"):
        keras._check_onednn()

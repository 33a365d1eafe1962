"""The one door to TensorFlow."""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path

import pytest

from fedcompress import keras


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


def test_generated_code_can_be_read(tmp_path: Path) -> None:
    generated = keras.tf.autograph.to_graph(_doubled)
    assert "def tf___doubled" in inspect.getsource(inspect.getmodule(generated))
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        generated(0)


def _doubled(x: int) -> float:
    if x > 1:
        x = x * 2
    return 1 / x

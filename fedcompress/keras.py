"""The one door to TensorFlow, tf_keras and tfmot: nothing else imports them, and nothing imports `keras`.

`from fedcompress import keras` costs nothing; the first attribute that is used imports TensorFlow (5 to 15 s).
`keras.tf` is TensorFlow, `keras.Pruning` that of the model optimization toolkit, any other name is from `tf_keras`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fedcompress import quiet

LOCK = threading.RLock()
"""Held while a model or a graph is built: Keras' building is not thread-safe, running is."""

_modules: dict[str, Any] = {}
_thread = threading.local()


def compiled(key: Any, make: Callable[[], Any]) -> Any:
    """Returns what this thread compiled under `key`; variables belong to one call at a time, so threads share none."""
    cache = _thread.__dict__.setdefault("compiled", {})
    if key not in cache:
        cache[key] = make()
    return cache[key]


@contextmanager
def silent_stderr(*, failing: bool = False) -> Iterator[None]:
    """Holds back what native code prints, which no log level reaches; shows it if the block fails, unless `failing`."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except Exception:
            if not failing:
                file.seek(0)
                os.write(kept, file.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of TensorFlow that ran: its kind, as "MatMul", its attributes, the tensors in and out."""

    kind: str
    attributes: dict[str, Any]
    inputs: Sequence[Any]
    outputs: Sequence[Any]


@contextmanager
def every_operation() -> Iterator[list[Operation]]:
    """Gathers the operations that this thread runs, on the CPU; functions and loops run as their operations."""
    tf, seen = _load()["tf"], []
    from tensorflow.python.framework import op_callbacks

    def note(kind: Any, inputs: Any, attributes: Any, outputs: Any, op_name: Any = None, graph: Any = None) -> None:
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        named = {tf.compat.as_text(name): value for name, value in pairs}
        seen.append(Operation(tf.compat.as_text(kind), named, tuple(inputs), tuple(outputs)))  # lists go on changing

    with LOCK, tf.device("/CPU:0"):
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        op_callbacks.add_op_callback(note)
        try:
            yield seen
        finally:
            op_callbacks.remove_op_callback(note)
            tf.config.run_functions_eagerly(before)


def _load() -> dict[str, Any]:
    """Imports the three once, on one intra-op thread, which is what makes sums repeat to the bit."""
    with LOCK:
        if not _modules:
            quiet.apply()
            warnings.filterwarnings("ignore", module=r"tensorflow|tf_keras|tensorflow_model_optimization")
            with silent_stderr():
                import tensorflow as tf
                import tf_keras

            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(int(os.environ.get("FEDCOMPRESS_INTER_OP", "0")))
            tf.get_logger().setLevel("ERROR")
            tf.autograph.set_verbosity(0)
            _modules.update(tf=tf, tf_keras=tf_keras)
        return _modules


def _load_pruning() -> Any:
    """Imports tfmot's masks on variables, which are below its wrappers for layers (1 to 2 s)."""
    modules = _load()
    with LOCK:
        if "Pruning" not in modules:
            with silent_stderr():
                from tensorflow_model_optimization.python.core.sparsity.keras.pruning_impl import Pruning
            modules["Pruning"] = Pruning
        return modules["Pruning"]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if name == "Pruning":
        return _load_pruning()
    modules = _load()
    return modules[name] if name in modules else getattr(modules["tf_keras"], name)

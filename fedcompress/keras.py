"""The one door to TensorFlow, tf_keras and tfmot: nothing else imports them, and nothing imports `keras`.

`from fedcompress import keras` costs nothing; the first attribute that is used imports TensorFlow (5 to 15 s).
`keras.tf` is TensorFlow, `keras.Pruning` that of the model optimization toolkit, `keras.TFLiteFile` what a TFLite file
holds, any other name is from `tf_keras`.
"""

from __future__ import annotations

import importlib
import linecache
import os
import random
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from types import ModuleType
from typing import Any

from fedcompress import environment

LOCK = threading.RLock()
"""Held while a model or a graph is built: Keras' building is not thread-safe, running is."""

_modules: dict[str, Any] = {}
_waiting: list[Callable[[str], None]] = []
_thread = threading.local()


@contextmanager
def announced(say: Callable[[str], None]) -> Iterator[None]:
    """Has somebody told what is waited for, should TensorFlow be imported within the block."""
    _waiting.append(say)
    try:
        yield
    finally:
        _waiting.remove(say)


def compiled(key: Any, make: Callable[[], Any]) -> Any:
    """Returns what this thread compiled under `key`; variables belong to one call at a time, so threads share none."""
    cache = _thread.__dict__.setdefault("compiled", {})
    if key not in cache:
        with building():
            cache[key] = make()
    return cache[key]


@contextmanager
def building() -> Iterator[None]:
    """Counts the seconds of the block, waiting for `LOCK` included, to those that `building_seconds` returns."""
    before, started = building_seconds(), time.perf_counter()
    try:
        yield
    finally:
        _thread.building = before + time.perf_counter() - started  # a block in this one is not counted twice


def building_seconds() -> float:
    """Returns the seconds that this thread has spent on making models and tracing graphs of them."""
    return float(_thread.__dict__.get("building", 0.0))


def apart(body: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the body of a loop in a graph as a function that TensorFlow optimises apart from the loop.

    A loop is a graph with a cycle, where no order puts each operation after those that it reads from. The one that
    TensorFlow takes depends on addresses in memory, and with it the kernels: the gradient of max-pooling gets that of
    oneDNN only if the pooling came first and had got its own (`MaxpoolGradRewrite` in TensorFlow's
    `mkl_layout_pass.cc`). About 1 of 60 equal graphs differed in a sum's last bits. A body of its own has no cycle.
    """
    function: Callable[..., Any] = _load()["tf"].function(
        body, autograph=False, experimental_attributes={"_noinline": True}
    )
    return function


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds whatever building a model may draw from; after the block all of it is as it was before.

    An initializer of Keras draws from a generator of this thread, one that a user wrote from the global generator of
    TensorFlow, NumPy or Python. What has a seed of its own keeps that.

    Args:
        seed: Below 2**31.
    """
    _load()
    import numpy as np
    from tensorflow.python.eager.context import context
    from tf_keras.src import backend

    with LOCK:
        of_keras, of_tensorflow = backend._SEED_GENERATOR, context()
        held = random.getstate(), np.random.get_state(), getattr(of_keras, "generator", None)
        held_seed, held_generator = of_tensorflow._seed, getattr(of_tensorflow, "_rng", None)
        random.seed(seed)
        np.random.seed(seed)
        of_keras.generator = random.Random(seed)
        # `tf.random.set_seed` would drop every kernel of this process, compiled trainings among them.
        of_tensorflow._seed, of_tensorflow._rng = seed, random.Random(seed)
        unused = of_tensorflow._rng.getstate()
        try:
            yield
        finally:
            if of_tensorflow._rng.getstate() != unused:  # kernels that drew would go on counting under an equal seed
                _modules["tf"].random.set_seed(seed)
            of_tensorflow._seed, of_tensorflow._rng = held_seed, held_generator
            random.setstate(held[0])
            np.random.set_state(held[1])
            of_keras.generator = held[2]


@contextmanager
def computing(policy: str) -> Iterator[None]:
    """Has layers that are made in the block compute as a policy of Keras says, such as "mixed_bfloat16"."""
    keras = _load()["tf_keras"]
    with LOCK, keras.src.mixed_precision.policy.policy_scope(policy):
        yield


@contextmanager
def silent_stderr(*, failing: bool = False) -> Iterator[None]:
    """Holds back what native code prints, which no log level reaches; shows it if the block fails, unless `failing`."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except Exception:
            if not failing:
                file.seek(0)
                os.write(original, file.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


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
            imported = "tensorflow" in sys.modules
            environment.apply()
            for say in _waiting:
                say("importing TensorFlow")
            warnings.filterwarnings("ignore", module=r"tensorflow|tf_keras|tensorflow_model_optimization")
            with silent_stderr():
                import tensorflow as tf
                import tf_keras

            _configure(tf)
            if imported:
                _check_onednn()
            tf.get_logger().setLevel("ERROR")
            tf.autograph.set_verbosity(0)
            _keep_generated_code_in_memory()
            _modules.update(tf=tf, tf_keras=tf_keras)
        return _modules


def _configure(tf: Any) -> None:
    """Sets threads and GPUs, or warns where the process has computed with TensorFlow before: it is too late then.

    GPUs since Ampere round what they multiply to 10 bits unless told otherwise (TensorFloat-32): gradients clipped for
    privacy would be longer than their bound, and accuracies not those of float32, which is what a scenario says.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        if inter_op := os.environ.get("FEDCOMPRESS_INTER_OP"):
            tf.config.threading.set_inter_op_parallelism_threads(int(inter_op))
        for gpu in tf.config.list_physical_devices("GPU"):  # which a worker would otherwise take the whole of
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        warnings.warn(
            "This process has computed with TensorFlow before fedcompress came to set its threads: sums may differ in "
            "their last bits from run to run. For runs that repeat, restart it, and begin with "
            "tf.config.threading.set_intra_op_parallelism_threads(1).",
            stacklevel=2,
        )


def by_onednn() -> bool:
    """Says whether TensorFlow computes by oneDNN; or would, if nobody has imported it yet."""
    if "tensorflow" in sys.modules:
        return bool(importlib.import_module("tensorflow.python.util._pywrap_util_port").IsMklEnabled())
    return environment.applied().get(environment.ONEDNN, "").lower() in ("1", "true")


def _check_onednn() -> None:
    """Warns where TensorFlow was imported before fedcompress could say that it is to compute by oneDNN."""
    if os.environ.get(environment.ONEDNN) == "1" and not by_onednn():
        warnings.warn(
            "TensorFlow was imported before fedcompress and computes without oneDNN on this processor: convolutions "
            "take up to ten times as long, and sums differ in their last bits from those of the command line. Set "
            f"{environment.ONEDNN}=1 before TensorFlow is imported, or use fedcompress first.",
            stacklevel=2,
        )


def _keep_generated_code_in_memory() -> None:
    """Has autograph import the code that it generates without writing it to files.

    A process that is killed leaves the files in the temporary directory, and any process their compiled form.
    """
    loader = importlib.import_module("tensorflow.python.autograph.pyct.loader")
    numbers = count()

    def load_source(source: str, delete_on_exit: bool) -> tuple[ModuleType, str]:
        name = f"__autograph_generated_{next(numbers)}"
        module = ModuleType(name)
        module.__file__ = filename = f"<{name}>"
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        exec(compile(source, filename, "exec", dont_inherit=True), module.__dict__)
        sys.modules[name] = module
        return module, filename

    loader.load_source = load_source  # type: ignore[attr-defined]


def _load_pruning() -> Any:
    """Imports tfmot's masks on variables, which are below its wrappers for layers (half a second)."""
    modules = _load()
    with LOCK:
        if "Pruning" not in modules:
            with silent_stderr(), _without_keras_3():
                from tensorflow_model_optimization.python.core.sparsity.keras.pruning_impl import Pruning
            modules["Pruning"] = Pruning
        return modules["Pruning"]


@contextmanager
def _without_keras_3() -> Iterator[None]:
    """Has tfmot, which looks for a module that Keras 3 lacks, and does without it, not import Keras 3 for that.

    That would bring scikit-learn and matplotlib along, and take 3 s more than the half second that tfmot takes.
    """
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["keras"]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if name == "Pruning":
        return _load_pruning()
    modules = _load()
    if name == "TFLiteFile":
        return importlib.import_module("tensorflow.lite.python.schema_py_generated").Model
    return modules[name] if name in modules else getattr(modules["tf_keras"], name)

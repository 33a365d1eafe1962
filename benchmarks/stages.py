"""Processor time of a run by stage: what training takes, and what everything around it takes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, wraps
from typing import Any
from unittest.mock import patch

from fedcompress import client_app, federation
from fedcompress.engines import inline
from fedcompress.evaluation import Evaluator
from fedcompress.federation import Federation
from fedcompress.link import client, server
from fedcompress.link.spool import Spool
from fedcompress.plugins import Plugins
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.recorder import Recorder
from fedcompress.results.run.states import ClientStates
from fedcompress.training.loop import TrainingLoop
from fedcompress.training.trainer import Trainer
from fedcompress.wire import references, tensors
from fedcompress.wire.codec import Encoded
from fedcompress.wire.crossing import Crossing
from fedcompress.wire.keeping import Kept

STAGES = (
    *("train", "compress", "encode", "decode", "measure", "digest", "bound", "judge", "aggregate", "checkpoint"),
    *("message", "score", "rest"),
)
"""train: the compiled graph. compress: what choosing masks and rounding takes beside it. bound: the ledger's entropy.
judge: whether a reply is plausible. message: Flower's records and bytes. score: tests of models."""

_WRAPPED: tuple[tuple[Any, str, str], ...] = (
    (TrainingLoop, "run", "train"),
    (Trainer, "fit", "compress"),
    (server, "encode_payload", "encode"),
    (client, "encode_payload", "encode"),
    (server, "read_payload", "decode"),
    (client, "read_payload", "decode"),
    (client_app, "_measure", "measure"),
    (client_app, "digest", "digest"),
    (tensors, "digest", "digest"),
    (references.support, "digest", "digest"),
    (federation, "changes", "judge"),
    (server, "root_mean_square", "judge"),
    (Spool, "put", "aggregate"),
    (Checkpoints, "save", "checkpoint"),
    (ClientStates, "put", "checkpoint"),
    (ClientStates, "get", "checkpoint"),
    (Crossing, "__reduce__", "message"),
    (Kept, "of", "checkpoint"),
    (Kept, "restored", "checkpoint"),
    (client, "_load", "message"),
    (client, "_save", "message"),
    (inline, "answer", "rest"),
    (Evaluator, "check", "score"),
    (Evaluator, "score", "score"),
    (Recorder, "round", "checkpoint"),
    (Federation, "_outcomes", "rest"),
)


class Meter:
    """Seconds of the processor by stage. What is called inside a stage is its own stage's alone.

    For runs of one worker: a process has one clock.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._stack = ["rest"]
        self._since = time.process_time()

    def _turn(self) -> None:
        now = time.process_time()
        self._seconds[self._stack[-1]] += now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the block."""
        self._turn()
        self._stack.append(name)
        try:
            yield
        finally:
            self._turn()
            self._stack.pop()

    def reset(self) -> None:
        """Begins anew: what a first round traces and builds does not count."""
        self._turn()
        self._seconds.clear()

    @property
    def seconds(self) -> dict[str, float]:
        """Stage -> seconds so far."""
        self._turn()
        return {name: self._seconds.get(name, 0.0) for name in STAGES}


@contextmanager
def metered(strategy: str) -> Iterator[Meter]:
    """Counts the stages of what runs in the block.

    Args:
        strategy: Name of the server strategy, whose `aggregated` is a stage.
    """
    meter = Meter()

    def counted(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(*args: Any, **keywords: Any) -> Any:
            with meter.stage(stage):
                return function(*args, **keywords)

        return wrapped

    bound = cached_property(counted(Encoded.bound_bytes.func, "bound"))  # type: ignore[attr-defined]
    bound.__set_name__(Encoded, "bound_bytes")
    of_server = (Plugins().load("strategies", strategy), "aggregated", "aggregate")
    with ExitStack() as stack:
        for owner, name, stage in (*_WRAPPED, of_server):
            stack.enter_context(patch.object(owner, name, counted(getattr(owner, name), stage)))
        stack.enter_context(patch.object(Encoded, "bound_bytes", bound))

        yield meter

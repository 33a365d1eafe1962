"""Engine "inline": every client in this process, on one thread or several. The engine for debugging, too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp

from fedcompress.engines.grid import RUN_ID, LocalGrid, answer


class InlineGrid(LocalGrid):
    """Runs clients in this process.

    TensorFlow releases the interpreter inside a graph, so threads of one process train side by side, each with
    compiled loops of its own, on one import and one copy of the data.

    Args:
        app: The client app.
        clients: Number of virtual clients.
        workers: Threads.
    """

    def __init__(self, app: ClientApp, clients: int, workers: int = 1) -> None:
        super().__init__(clients)
        self._app = app
        self._states: dict[int, RecordDict] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="client") if workers > 1 else None

    def deliver(self, partitions: list[int], requests: list[bytes], timeout: float | None) -> list[bytes | str | None]:
        if self._pool is None:
            return [self._answer(p, r) for p, r in zip(partitions, requests, strict=True)]
        return list(self._pool.map(self._answer, partitions, requests))

    def _answer(self, partition: int, request: bytes) -> bytes | str | None:
        """Runs one request; the client's state is committed only if it succeeds."""
        state = RecordDict(dict(self._states.get(partition, RecordDict())))
        node_config: dict[str, Any] = {"partition-id": partition, "num-partitions": self._clients}
        context = Context(RUN_ID, partition + 2, node_config, state, {})
        try:
            reply = answer(self._app, request, context)
        except Exception as error:
            return str(error) or type(error).__name__
        self._states[partition] = context.state
        return reply

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

"""Engine "inline": every client in this process, on one thread or several. The engine for debugging, too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from itertools import islice

from flwr.clientapp import ClientApp

from fedcompress.client_app import make_client_app
from fedcompress.engines.engine import LocalEngine
from fedcompress.engines.grid import LocalGrid, ToClient, answer
from fedcompress.errors import reason
from fedcompress.experiment import Experiment
from fedcompress.results.run.states import ClientStates
from fedcompress.wire.crossing import Crossing


class InlineGrid(LocalGrid):
    """Runs clients in this process.

    TensorFlow releases the interpreter inside a graph, so threads of one process train side by side, each with
    compiled loops of its own, on one import and one copy of the data.

    Args:
        app: The client app.
        clients: Number of virtual clients.
        workers: Threads.
        states: Holds what clients keep.
    """

    def __init__(self, app: ClientApp, clients: int, workers: int = 1, states: ClientStates | None = None) -> None:
        super().__init__(clients, states)
        self._app, self._workers = app, workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="client") if workers > 1 else None

    def deliver(
        self, requests: Iterator[ToClient], timeout: float | None
    ) -> Iterator[tuple[int, Crossing | str | None]]:
        if self._pool is None:
            for request in requests:
                yield request.number, self._answer(request, timeout)
            return
        running: dict[Future[Crossing | str | None], int] = {}
        try:
            while True:
                for request in islice(requests, self._workers + 1 - len(running)):  # one waits, so that no thread does
                    running[self._pool.submit(self._answer, request, timeout)] = request.number
                if not running:
                    return
                future = next(as_completed(running))
                yield running.pop(future), future.result()
        finally:
            for future in running:
                future.cancel()
            wait(running)  # the next call must not meet a client that is still at this one

    def _answer(self, request: ToClient, timeout: float | None) -> Crossing | str | None:
        """Runs one request; the client's state is committed only if it succeeds in time.

        A thread cannot be ended, so a client that is late is waited for, and then treated as one that was lost.
        """
        started, partition = time.monotonic(), request.partition
        try:
            reply, state = answer(self._app, partition, self._clients, request.message, self._states.get(partition))
        except Exception as error:
            return reason(error)
        if timeout is not None and (took := time.monotonic() - started) > timeout:
            return f"took {took:.1f} s, server.timeout is {timeout:g} s"
        self._states.put(partition, state)
        return reply

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class InlineEngine(LocalEngine):
    """Runs clients in this process, on `workers` threads."""

    def grid(self, experiment: Experiment, states: ClientStates) -> InlineGrid:
        app = make_client_app(lambda _: experiment)
        return InlineGrid(app, len(experiment.clients), self.options.workers, states)

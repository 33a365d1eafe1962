"""Engine "ray": clients in actors of a Ray cluster, on one machine or many."""

from __future__ import annotations

import time
import tomllib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from fedcompress import keras
from fedcompress.client_app import make_client_app
from fedcompress.engines import cluster
from fedcompress.engines.cluster import Connection
from fedcompress.engines.engine import LocalEngine
from fedcompress.engines.grid import LocalGrid, ToClient, answer, identify
from fedcompress.errors import RunError, reason
from fedcompress.experiment import Experiment
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.results.run.states import ClientStates
from fedcompress.scenario import Scenario
from fedcompress.wire.crossing import Crossing
from fedcompress.wire.keeping import Kept

START_LIMIT = 300.0
"""Seconds that a worker may take to import and build what it needs, before the run gives up."""
ATTEMPTS = 2
"""How often a message is tried when workers die under it."""


@dataclass
class _Call:
    """A message on a worker."""

    request: ToClient
    attempt: int
    worker: Any
    started: float = field(default_factory=time.monotonic)


class _Worker:
    """The actor: builds the experiment from what the driver sent, and answers requests one at a time."""

    def __init__(self, scenario: str, data: Any, modules: Mapping[Path, Mapping[str, bytes]]) -> None:
        identify()
        keras.tf  # noqa: B018  imports TensorFlow now, so that no request pays for it
        parsed = Scenario.parse(tomllib.loads(scenario))
        self._experiment = Experiment.load(parsed, Plugins(tuple(modules), modules), data=data)
        self._app = make_client_app(lambda _: self._experiment)

    def ready(self) -> bool:
        """Answers once the worker has been built."""
        return True

    def answer(self, partition: int, request: Crossing, state: Kept) -> tuple[Crossing, Kept] | str:
        """Runs one request; an exception comes back as its text."""
        try:
            return answer(self._app, partition, len(self._experiment.clients), request, state)
        except (Exception, KeyboardInterrupt) as error:  # Ctrl-C is the driver's: here a plug-in has raised it
            return reason(error)


class RayGrid(LocalGrid):
    """Runs clients in Ray actors.

    An actor that dies is replaced and its message tried once more; one that takes longer than the time limit is
    killed, and its message is lost.

    Args:
        experiment: What clients run; its data goes through Ray's object store, once per machine.
        options: How many workers, where, and what each reserves.
        states: Holds what clients keep.

    Raises:
        InputError: The cluster cannot be reached, or offers too little.
    """

    def __init__(self, experiment: Experiment, options: Options, states: ClientStates | None = None) -> None:
        super().__init__(len(experiment.clients), states)
        self._connection = Connection(options)
        self._ray: Any = self._connection.ray
        try:
            self._prepare(experiment, options.workers)
        except BaseException:
            self.close()
            raise

    def _prepare(self, experiment: Experiment, workers: int) -> None:
        actor = self._connection.actor(_Worker)
        data = self._ray.put(experiment.data)
        modules = dict(experiment.plugins.modules)
        self._spawn: Callable[[], Any] = lambda: actor.remote(experiment.scenario.toml(), data, modules)
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        for _ in range(workers):
            self._start_worker()

    def deliver(
        self, requests: Iterator[ToClient], timeout: float | None
    ) -> Iterator[tuple[int, Crossing | str | None]]:
        running: dict[Any, _Call] = {}
        try:
            yield from self._answers(requests, running, timeout)
        finally:  # after an error in between, what is still running is of no use, but its workers are
            self._idle += [call.worker for call in running.values()]

    def _answers(
        self, requests: Iterator[ToClient], running: dict[Any, _Call], timeout: float | None
    ) -> Iterator[tuple[int, Crossing | str | None]]:
        """Has workers run requests, as `deliver`; notes in `running` which do."""
        jobs: deque[tuple[ToClient, int]] = deque()
        while True:
            if not jobs:
                jobs.extend((request, 1) for request in islice(requests, 1))
            if not jobs and not running:
                return
            if jobs and self._idle:
                call = _Call(*jobs.popleft(), self._idle.pop())
                running[self._asked(call)] = call
                continue
            done, _ = self._ray.wait([*running, *self._starting], num_returns=1, timeout=0.5)
            for future in done:
                if future in self._starting:
                    self._welcome(future)
                    continue
                call = running.pop(future)
                answer = self._result(future)
                if answer is not None:
                    self._idle.append(call.worker)
                    yield call.request.number, self._taken(call, answer)
                    continue
                self._start_worker()
                if call.attempt < ATTEMPTS:
                    jobs.append((call.request, call.attempt + 1))
                else:
                    yield call.request.number, f"its worker died {ATTEMPTS} times"
            for call in self._end_late(running, timeout):
                yield call.request.number, None

    def close(self) -> None:
        """Ends the actors, and the cluster if this grid started it."""
        self._connection.close()

    def _asked(self, call: _Call) -> Any:
        """Has a worker run a request, and returns the future of its answer."""
        partition = call.request.partition
        return call.worker.answer.remote(partition, call.request.message, self._states.get(partition))

    def _taken(self, call: _Call, answer: tuple[Crossing, Kept] | str) -> Crossing | str:
        """Keeps what the client keeps, and returns its reply, or its error."""
        if isinstance(answer, str):
            return answer
        self._states.put(call.request.partition, answer[1])
        return answer[0]

    def _result(self, future: Any) -> tuple[Crossing, Kept] | str | None:
        """Returns what a worker answered, None if it died."""
        try:
            answer: tuple[Crossing, Kept] | str = self._ray.get(future)
        except self._ray.exceptions.RayActorError:
            return None
        except self._ray.exceptions.RayError as error:
            return f"{type(error).__name__}: {error}"
        return answer

    def _end_late(self, running: dict[Any, _Call], timeout: float | None) -> Iterator[_Call]:
        """Kills workers that hang, and yields their messages, which are lost."""
        for future, call in list(running.items()):
            late = timeout is not None and time.monotonic() - call.started > timeout
            if late and not self._ray.wait([future], timeout=0)[0]:  # it may have been done before anybody asked
                del running[future]
                self._ray.kill(call.worker)
                self._start_worker()
                yield call

    def _start_worker(self) -> None:
        worker = self._spawn()
        self._starting[worker.ready.remote()] = worker

    def _welcome(self, future: Any) -> None:
        worker = self._starting.pop(future)
        try:
            self._ray.get(future, timeout=START_LIMIT)
        except self._ray.exceptions.RayError as error:
            raise RunError(f"a Ray worker did not start: {error}") from None
        self._idle.append(worker)


class RayEngine(LocalEngine):
    """Runs clients in actors of a Ray cluster, or runs of a sweep, where this machine is the cluster."""

    @property
    def spreads_runs(self) -> bool:
        """On this machine: on a cluster, the other machines need not see the run directory."""
        return self.options.workers > 1 and cluster.cluster_address(self.options.ray_address) is None

    def check(self, most: int) -> None:
        cluster.check(self._enough(most))

    def grid(self, experiment: Experiment, states: ClientStates) -> RayGrid:
        return RayGrid(experiment, self._enough(len(experiment.clients)), states)

    def _enough(self, most: int) -> Options:
        """Returns the options with no more workers than there is work for."""
        return replace(self.options, workers=min(self.options.workers, most))

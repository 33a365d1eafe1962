"""Engine "ray": clients in actors of a Ray cluster, on one machine or many."""

from __future__ import annotations

import time
import tomllib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedcompress import keras
from fedcompress.client_app import make_client_app
from fedcompress.engines import cluster
from fedcompress.engines.cluster import Connection, RaySettings
from fedcompress.engines.engine import LocalEngine
from fedcompress.engines.grid import LocalGrid, answer, identify
from fedcompress.errors import RunError, reason
from fedcompress.experiment import Experiment
from fedcompress.plugins import Plugins
from fedcompress.results.run.states import ClientStates
from fedcompress.scenario import Scenario

START_LIMIT = 300.0
"""Seconds that a worker may take to import and build what it needs, before the run gives up."""
ATTEMPTS = 2
"""How often a message is tried when workers die under it."""


@dataclass
class _Call:
    """A message on a worker."""

    index: int
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

    def answer(self, partition: int, request: bytes, state: bytes) -> tuple[bytes, bytes] | str:
        """Runs one request; an exception comes back as its text."""
        try:
            return answer(self._app, partition, len(self._experiment.clients), request, state)
        except (Exception, KeyboardInterrupt) as error:  # Ctrl-C is the driver's: here a plug-in has raised it
            return reason(error)


class RayGrid(LocalGrid):
    """Runs clients in Ray actors.

    Replies come back in the order of the requests. An actor that dies is replaced and its message tried once more; one
    that takes longer than the time limit is killed, and its message is lost.

    Args:
        experiment: What clients run; its data goes through Ray's object store, once per machine.
        settings: Where workers run.
        states: Holds what clients keep.

    Raises:
        InputError: The cluster cannot be reached, or offers too little.
    """

    def __init__(self, experiment: Experiment, settings: RaySettings, states: ClientStates | None = None) -> None:
        super().__init__(len(experiment.clients), states)
        self._connection = Connection(settings)
        self._ray: Any = self._connection.ray
        try:
            self._prepare(experiment, settings)
        except BaseException:
            self.close()
            raise

    def _prepare(self, experiment: Experiment, settings: RaySettings) -> None:
        remote = self._ray.remote(num_cpus=settings.cpus, num_gpus=settings.gpus, max_restarts=0)(_Worker)
        data = self._ray.put(experiment.data)
        modules = dict(experiment.plugins.modules)
        self._spawn: Callable[[], Any] = lambda: remote.remote(experiment.scenario.toml(), data, modules)
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        for _ in range(settings.workers):
            self._start_worker()

    def deliver(self, partitions: list[int], requests: list[bytes], timeout: float | None) -> list[bytes | str | None]:
        answers: list[bytes | str | None] = [None] * len(requests)
        attempts = [0] * len(requests)
        waiting = deque(range(len(requests)))
        running: dict[Any, _Call] = {}
        while waiting or running:
            while waiting and self._idle:
                index, worker = waiting.popleft(), self._idle.pop()
                attempts[index] += 1
                state = self._states.get(partitions[index])
                running[worker.answer.remote(partitions[index], requests[index], state)] = _Call(index, worker)
            done, _ = self._ray.wait([*running, *self._starting], num_returns=1, timeout=0.5)
            for future in done:
                if future in self._starting:
                    self._welcome(future)
                    continue
                call = running.pop(future)
                answer = self._result(future)
                if answer is None:
                    self._start_worker()
                    if attempts[call.index] < ATTEMPTS:
                        waiting.append(call.index)
                    else:
                        answers[call.index] = f"its worker died {ATTEMPTS} times"
                    continue
                self._idle.append(call.worker)
                answers[call.index] = answer if isinstance(answer, str) else answer[0]
                if not isinstance(answer, str):
                    self._states.put(partitions[call.index], answer[1])
            self._end_late(running, timeout)
        return answers

    def close(self) -> None:
        """Ends the actors, and the cluster if this grid started it."""
        self._connection.close()

    def _result(self, future: Any) -> tuple[bytes, bytes] | str | None:
        """Returns what a worker answered, None if it died."""
        try:
            answer: tuple[bytes, bytes] | str = self._ray.get(future)
        except self._ray.exceptions.RayActorError:
            return None
        except self._ray.exceptions.RayError as error:
            return f"{type(error).__name__}: {error}"
        return answer

    def _end_late(self, running: dict[Any, _Call], timeout: float | None) -> None:
        """Kills workers that hang; their messages are lost."""
        for future, call in list(running.items()):
            if timeout is not None and time.monotonic() - call.started > timeout:
                del running[future]
                self._ray.kill(call.worker)
                self._start_worker()

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
        cluster.check(self._settings(most))

    def grid(self, experiment: Experiment, states: ClientStates) -> RayGrid:
        return RayGrid(experiment, self._settings(len(experiment.clients)), states)

    def _settings(self, most: int) -> RaySettings:
        """Returns the settings of as many workers as there is work for."""
        options = self.options
        workers = min(options.workers, most)
        return RaySettings(workers, options.ray_address, options.cpus_per_worker, options.gpus_per_worker)

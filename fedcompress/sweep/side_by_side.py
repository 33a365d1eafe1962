"""Runs of a sweep side by side: each in a process of its own, a Ray actor that keeps its imports from run to run.

Side by side within one run, clients share the import and the data, but the server's part of a round (decoding,
averaging, testing) is done by one process while the others wait. Runs of a sweep wait for nothing.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedcompress.engines.cluster import Connection
from fedcompress.errors import reason
from fedcompress.launch import start_or_resume
from fedcompress.options import Options
from fedcompress.scenario import Scenario
from fedcompress.sweep.jobs import Job, Outcome

ATTEMPTS = 2
"""How often a run is begun or resumed when workers die under it."""


class _Worker:
    """The actor: carries out whole runs, one at a time."""

    def run(self, scenario: str, path: str, options: dict[str, Any], command: list[str]) -> str:
        """Starts or resumes a run; returns its summary as JSON.

        Raises:
            RuntimeError: Why it failed, as text.
        """
        parsed = Scenario.parse(tomllib.loads(scenario))
        try:
            return json.dumps(start_or_resume(parsed, Path(path), Options.of(options), command=command))
        except (Exception, KeyboardInterrupt) as error:  # Ctrl-C is the driver's: here a plug-in has raised it
            raise RuntimeError(reason(error)) from None


def run_side_by_side(jobs: Sequence[Job], options: Options) -> Iterator[Outcome]:
    """Carries out runs in `options.workers` processes and yields how each ended, as soon as it has.

    A worker that dies is replaced, and its run resumed once.
    """
    workers = min(options.workers, len(jobs))
    if not workers:
        return
    inline = within_a_worker(options).table() | {"fail_fast": options.fail_fast}
    with closing(Connection(replace(options, workers=workers))) as connection:
        actor = connection.actor(_Worker)
        idle = [actor.remote() for _ in range(workers)]
        waiting = [(job, 1) for job in jobs]
        running: dict[Any, tuple[Job, int, Any]] = {}
        while waiting or running:
            while waiting and idle:
                (job, attempt), worker = waiting.pop(0), idle.pop()
                future = worker.run.remote(job.scenario.toml(), str(job.path.resolve()), inline, sys.argv)
                running[future] = job, attempt, worker
            (future,), _ = connection.ray.wait(list(running), num_returns=1)
            job, attempt, worker = running.pop(future)
            outcome = _outcome(connection.ray, future, job)
            if outcome is None:
                worker = actor.remote()
                if attempt < ATTEMPTS:
                    waiting.append((job, attempt + 1))
                else:
                    outcome = Outcome(job, None, f"its worker died {ATTEMPTS} times")
            idle.append(worker)
            if outcome is not None:
                yield outcome


def within_a_worker(options: Options) -> Options:
    """Returns how a worker carries out its runs: in its process, which has its GPUs already."""
    return replace(options, engine="inline", workers=1, gpus_per_worker=0.0)


def _outcome(ray: Any, future: Any, job: Job) -> Outcome | None:
    """Returns how a run ended, None if its worker died."""
    try:
        return Outcome(job, json.loads(ray.get(future)))
    except ray.exceptions.RayActorError:
        return None
    except ray.exceptions.RayTaskError as error:
        return Outcome(job, None, str(error.cause))

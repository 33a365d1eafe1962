"""Runs of a sweep side by side: each in a process of its own, a Ray actor that keeps its imports from run to run.

Side by side within one run, clients share the import and the data, but the server's part of a round (decoding,
averaging, testing) is done by one process while the others wait. Runs of a sweep wait for nothing.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedcompress.engines.cluster import Connection, RaySettings
from fedcompress.errors import reason
from fedcompress.launch import start_or_resume
from fedcompress.options import Options
from fedcompress.results.run.directory import finite
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
            return json.dumps(finite(start_or_resume(parsed, Path(path), Options.of(options), command=command)))
        except (Exception, KeyboardInterrupt) as error:  # Ctrl-C is the driver's: here a plug-in has raised it
            raise RuntimeError(reason(error)) from None


def run_side_by_side(jobs: Sequence[Job], options: Options) -> Iterator[Outcome]:
    """Carries out runs in `options.workers` processes and yields how each ended, as soon as it has.

    A worker that dies is replaced, and its run resumed once.
    """
    workers = min(options.workers, len(jobs))
    if not workers:
        return
    connection = Connection(RaySettings(workers, None, options.cpus_per_worker, options.gpus_per_worker))
    ray: Any = connection.ray
    remote = ray.remote(num_cpus=options.cpus_per_worker, num_gpus=options.gpus_per_worker, max_restarts=0)(_Worker)
    inline = replace(options, engine="inline", workers=1).table() | {"fail_fast": options.fail_fast}
    try:
        waiting, idle = list(jobs), [remote.remote() for _ in range(workers)]
        attempts = dict.fromkeys((job.number for job in jobs), 0)
        running: dict[Any, tuple[Job, Any]] = {}
        while waiting or running:
            while waiting and idle:
                job, worker = waiting.pop(0), idle.pop()
                attempts[job.number] += 1
                future = worker.run.remote(job.scenario.toml(), str(job.path.resolve()), inline, sys.argv)
                running[future] = job, worker
            (future,), _ = ray.wait(list(running), num_returns=1)
            job, worker = running.pop(future)
            try:
                summary = json.loads(ray.get(future))
            except ray.exceptions.RayActorError:
                idle.append(remote.remote())
                if attempts[job.number] < ATTEMPTS:
                    waiting.append(job)
                else:
                    yield Outcome(job, None, f"its worker died {ATTEMPTS} times")
                continue
            except ray.exceptions.RayTaskError as error:
                idle.append(worker)
                yield Outcome(job, None, str(error.cause))
                continue
            idle.append(worker)
            yield Outcome(job, summary)
    finally:
        connection.close()

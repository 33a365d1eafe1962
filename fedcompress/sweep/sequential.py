"""Runs of a sweep one after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from fedcompress.errors import reason
from fedcompress.launch import start_or_resume
from fedcompress.options import Options
from fedcompress.results.run.recorder import Observer
from fedcompress.sweep.jobs import Job, Outcome

Display = Callable[[str], AbstractContextManager[Observer]]
"""Makes an observer for the run of a label."""


def run_one_by_one(jobs: Sequence[Job], options: Options, display: Display) -> Iterator[Outcome]:
    """Carries out runs and yields how each ended. One that fails, for whatever reason, is an outcome like any other,
    unless `options.fail_fast`."""
    for job in jobs:
        try:
            with display(f"[{job.number}/{job.of}] {job.label}") as observer:
                outcome = Outcome(job, start_or_resume(job.scenario, job.path, options, observer))
        except Exception as error:
            if options.fail_fast:
                raise
            outcome = Outcome(job, None, reason(error))
        yield outcome

"""A sweep from beginning to end, for the command line and for Python: begin, run what is left, conclude."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedcompress.engines import engine_of
from fedcompress.errors import InputError
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.results.compare import formats
from fedcompress.results.compare.comparison import Comparison, compare
from fedcompress.results.report import write_report
from fedcompress.results.run.directory import RunDirectory, as_csv, as_json
from fedcompress.results.run.missing import optional
from fedcompress.results.runs import find_runs
from fedcompress.rows import SweepRow
from fedcompress.scenario import Scenario
from fedcompress.sweep.checks import check
from fedcompress.sweep.jobs import Outcome, Runner, Watcher, jobs_of
from fedcompress.sweep.sequential import Display, run_one_by_one
from fedcompress.sweep.side_by_side import run_side_by_side
from fedcompress.sweep.table import run_rows, variant_rows


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        rows: One per variant.
        problems: Why runs failed.
        comparison: Of the runs that are completed; None if none is.
    """

    rows: list[SweepRow]
    problems: list[str]
    comparison: Comparison | None


def begin(scenario: Scenario, path: Path, options: Options) -> None:
    """Checks every run of a sweep, then makes its directory.

    Raises:
        InputError: Runs would be wrong, or the directory is in use; nothing has been written then.
    """
    check(scenario, options)
    RunDirectory.made(path, {"options.json": as_json(options.table()), "scenario.toml": scenario.toml()})


def carry_out(
    scenario: Scenario,
    path: Path,
    options: Options,
    display: Display,
    watching: Callable[[bool], AbstractContextManager[Watcher]],
) -> SweepResult:
    """Runs what is left of a sweep that has begun, and compares the runs that are completed.

    Writes `sweep.json`, the comparison in several formats, and `report.html` if that is possible.

    Args:
        scenario: With a `[sweep]`.
        path: Its directory.
        options: How runs are carried out.
        display: Makes an observer for the run of a label, where there is one run at a time.
        watching: Makes what watches the sweep, told whether runs go side by side.

    Raises:
        InputError: A directory holds a run of another scenario, or the comparison cannot be written.
    """
    with watching(engine_of(options).spreads_runs) as watcher:
        rows, problems = run_sweep(scenario, path, runner_of(options, display), watcher, Plugins(options.plugins))
    return SweepResult(rows, problems, conclude(path) if any(row["seeds"] for row in rows) else None)


def runner_of(options: Options, display: Display) -> Runner:
    """Returns what carries out the runs of a sweep: side by side where the engine can, else one after the other."""
    if engine_of(options).spreads_runs:
        return partial(run_side_by_side, options=options)
    return partial(run_one_by_one, options=options, display=display)


def run_sweep(
    scenario: Scenario, path: Path, runner: Runner, watcher: Watcher, plugins: Plugins | None = None
) -> tuple[list[SweepRow], list[str]]:
    """Runs all variants with all seeds into one directory; returns a row per variant, and why runs failed.

    Into the directory of an unfinished sweep, it does what is left. `sweep.json` is up to date after every run.

    Args:
        scenario: With a `[sweep]`.
        path: Gets a run directory per run, and `sweep.json`.
        runner: Carries out what is left.
        watcher: Is told of every run.
        plugins: Finds what the scenario names.

    Raises:
        InputError: A directory holds a run of another scenario than its variant and seed; nothing has been changed.
    """
    jobs = jobs_of(scenario, path)
    if problems := [problem for job in jobs for problem in job.other_runs(plugins or Plugins())]:
        raise InputError(problems)
    directory = RunDirectory(path)
    directory.write_text("scenario.toml", scenario.toml())

    def write_table() -> list[SweepRow]:
        rows = variant_rows(scenario, list(outcomes.values()))
        directory.write_json("sweep.json", {"scenario": scenario.name, "variants": rows})
        of_runs = run_rows(list(outcomes.values()))
        directory.write_text("runs.csv", as_csv(of_runs, of_runs[0]))
        return rows

    outcomes = {job.number: Outcome(job, job.finished) for job in jobs}
    unfinished = [job for job in jobs if outcomes[job.number].summary is None]
    watcher.begun(len(jobs), len(jobs) - len(unfinished))
    for outcome in runner(unfinished):
        outcomes[outcome.job.number] = outcome
        write_table()
        watcher.ended(outcome)
    problems = [f"{o.job.label}: {line}" for o in outcomes.values() for line in o.problem.splitlines()]
    return write_table(), problems


def conclude(path: Path) -> Comparison:
    """Compares the runs of a sweep that are completed, and writes the comparison, and the report if that is possible.

    Raises:
        InputError: None is, or it cannot be written.
    """
    runs = find_runs([path])
    comparison = compare(runs)
    formats.write(comparison, path)
    with optional(f"{path}/report.html"):
        write_report(runs)
    return comparison

"""Variants and seeds: every combination is a run of its own; what is finished is not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Protocol, cast

from fedcompress.checks import resolved
from fedcompress.errors import InputError
from fedcompress.plugins import Plugins
from fedcompress.results.run.directory import RunDirectory, file_names
from fedcompress.rows import Summary, SweepRow
from fedcompress.scenario import Scenario

_FIGURES: Mapping[str, Callable[[Summary], Any]] = {
    "accuracy": lambda s: s["accuracy"],
    "best_accuracy": lambda s: s["best_accuracy"],
    "loss": lambda s: s["loss"],
    "clients_mean": lambda s: s["clients"]["mean"],
    "clients_worst10": lambda s: s["clients"]["worst10"],
    "uplink_bytes": lambda s: s["uplink_bytes"],
    "downlink_bytes": lambda s: s["downlink_bytes"],
    "seconds": lambda s: s["seconds"],
}


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: From 1, in the order of the sweep.
        of: Runs of the sweep.
        label: "VARIANT seed SEED".
        scenario: Without sweep.
        path: Its run directory.
    """

    number: int
    of: int
    label: str
    scenario: Scenario
    path: Path

    @property
    def variant(self) -> str:
        """Name of the variant."""
        return self.label.rpartition(" seed ")[0]


@dataclass(frozen=True)
class Outcome:
    """How a run of a sweep ended: with a summary, or with the reason why it failed."""

    job: Job
    summary: Summary | None
    problem: str = ""


class Runner(Protocol):
    """Carries out runs, one after the other or side by side, and yields how each ended; none of them ends the rest."""

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Outcome]: ...


class Watcher(Protocol):
    """Watches a sweep; the command line's progress display is one."""

    def begun(self, total: int, finished: int) -> None:
        """The sweep has that many runs, of which some are finished already."""

    def ended(self, outcome: Outcome) -> None:
        """A run is over."""


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
    assert scenario.sweep is not None
    runs = scenario.runs()
    folders = file_names(label for label, _ in runs)
    jobs = [
        Job(number, len(runs), label, single, path / folders[label]) for number, (label, single) in enumerate(runs, 1)
    ]
    if others := [problem for job in jobs for problem in _another_run(job, plugins or Plugins())]:
        raise InputError(others)
    directory = RunDirectory(path)
    directory.write_text("scenario.toml", scenario.toml())
    outcomes = {job.number: Outcome(job, _finished(job)) for job in jobs}
    left = [job for job in jobs if outcomes[job.number].summary is None]
    watcher.begun(len(jobs), len(jobs) - len(left))
    for outcome in runner(left):
        outcomes[outcome.job.number] = outcome
        directory.write_json("sweep.json", _table(scenario, list(outcomes.values())))
        watcher.ended(outcome)
    ended = list(outcomes.values())
    directory.write_json("sweep.json", _table(scenario, ended))
    problems = [f"{outcome.job.label}: {line}" for outcome in ended for line in outcome.problem.splitlines()]
    return _rows(scenario, ended), problems


def _another_run(job: Job, plugins: Plugins) -> Iterable[str]:
    """Says why what is in the directory of a run is not that run, as far as it has got."""
    directory = RunDirectory(job.path)
    if not directory.begun:
        return
    begun = directory.read_json("provenance.json").get("scenario_digest")
    wanted = resolved(job.scenario, plugins).digest
    if begun != wanted:
        yield (
            f"{job.path}: holds a run of another scenario (digest {str(begun)[:12]}) than the sweep's {job.label!r} "
            f"(digest {wanted[:12]}); put the sweep's scenario.toml back as it was, or start a new sweep."
        )
    elif Scenario.load(job.path / "scenario.toml").digest != begun:
        yield f"{job.path}: scenario.toml changed since the run began; put it back, or start a new sweep."


def _finished(job: Job) -> Summary | None:
    """Returns the summary of a run that is completed."""
    directory = RunDirectory(job.path)
    return directory.summary if directory.status == "completed" else None


def _table(scenario: Scenario, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {"scenario": scenario.name, "variants": _rows(scenario, outcomes)}


def _rows(scenario: Scenario, outcomes: Sequence[Outcome]) -> list[SweepRow]:
    """A row per variant, in the order of the sweep, whatever the order in which its runs ended."""
    assert scenario.sweep is not None
    return [
        _row(variant.name, [o for o in outcomes if o.job.variant == variant.name])
        for variant in scenario.sweep.variants
    ]


def _row(variant: str, outcomes: Sequence[Outcome]) -> SweepRow:
    summaries = [outcome.summary for outcome in outcomes if outcome.summary is not None]
    failed = {o.job.scenario.seed: o.problem for o in outcomes if o.problem}
    figures = {name: _spread([value(s) for s in summaries]) for name, value in _FIGURES.items()}
    reasons = [f"seed {seed}: {problem}" for seed, problem in failed.items()]
    row: SweepRow = {"variant": variant, "seeds": len(summaries), "failed": len(failed), "problems": reasons}
    return cast(SweepRow, {**row, **figures})


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean, and sample standard deviation where there are at least two values."""
    numbers = [v for v in values if v is not None]
    return {
        "mean": mean(numbers) if numbers else None,
        "std": stdev(numbers) if len(numbers) > 1 else None,
    }

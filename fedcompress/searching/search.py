"""A search from beginning to end, for the command line and for Python: begin, try what is left, write what is best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import tomli_w

from fedcompress import launch
from fedcompress.checks import Choices
from fedcompress.engines import engine_of
from fedcompress.errors import InputError, RunError, located
from fedcompress.experiment import Experiment
from fedcompress.judged import JUDGED, Judged
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.results.run.directory import RunDirectory, as_json
from fedcompress.scenario import Scenario
from fedcompress.scenario.search import SearchSettings
from fedcompress.searching import asking, trials
from fedcompress.searching.trials import Trial
from fedcompress.sweep.jobs import Job, Outcome
from fedcompress.sweep.sequential import Display
from fedcompress.sweep.sweep import runner_of
from fedcompress.units import counted

BEST = "best.toml"


@dataclass(frozen=True)
class SearchResult:
    """How a search ended.

    Attributes:
        trials: All of them, in their order.
        best: The one with the highest accuracy on validation data.
        scenario: The scenario with its settings, without `[search]`.
        toml: The same as a file, with what it is on top; keys that have their defaults are left out.
    """

    trials: Sequence[Trial]
    best: Trial
    scenario: Scenario
    toml: str


def begin(scenario: Scenario, path: Path, options: Options) -> None:
    """Checks a search, then makes its directory.

    Raises:
        InputError: Optuna is not installed, trials would be wrong, or the directory is in use; nothing has been written
            then.
    """
    asking.check_installed()
    _check(scenario, options)
    RunDirectory.made(path, {"options.json": as_json(options.table()), "scenario.toml": scenario.toml()})


def carry_out(
    scenario: Scenario, path: Path, options: Options, display: Display, told: Callable[[Trial, Trial | None], None]
) -> SearchResult:
    """Tries what is left of a search that has begun. `search.json` is up to date before and after every trial.

    Args:
        scenario: With a `[search]`.
        path: Its directory; gets a run directory for each trial and seed.
        options: How runs are carried out.
        display: Makes an observer for the run of a label.
        told: Is told of each trial that is over, with the best one so far.

    Raises:
        InputError: Optuna is not installed, or a directory holds another run.
        RunError: No trial has an accuracy.
    """
    asking.check_installed()
    settings, made = _settings(scenario), trials.read(path)
    run = runner_of(options, display)
    for number in range(1, settings.trials + 1):
        if number > len(made):
            made.append(Trial(number, asking.next_params(settings, made, number)))
            trials.write(path, made)
        if made[-1].state != "running" or number < len(made):
            continue
        jobs = jobs_of(scenario, path, made[-1])
        if problems := [problem for job in jobs for problem in job.other_runs(Plugins(options.plugins))]:
            raise InputError(problems)
        finished = [Outcome(job, job.finished) for job in jobs if job.finished]
        outcomes = [*finished, *run([job for job in jobs if not job.finished])]
        made[-1] = _over(made[-1], outcomes, _judged(scenario))
        trials.write(path, made)
        told(made[-1], trials.best(made))
    return _concluded(scenario, path, made)


def jobs_of(scenario: Scenario, path: Path, trial: Trial) -> list[Job]:
    """Returns the runs of a trial, one for each seed."""
    settings = _settings(scenario)
    before, of = (trial.number - 1) * len(settings.seeds), settings.trials * len(settings.seeds)
    return [
        Job(
            before + place,
            of,
            f"trial {trial.number} seed {seed}",
            _tried(scenario, {**trial.params, "seed": seed}),
            path / f"trial-{trial.number:04d}-seed-{seed}",
            trial.params,
        )
        for place, seed in enumerate(settings.seeds, 1)
    ]


def _settings(scenario: Scenario) -> SearchSettings:
    assert scenario.search is not None
    return scenario.search


def _judged(scenario: Scenario) -> Judged:
    assert scenario.searches_by is not None
    return JUDGED[scenario.searches_by]


def _tried(scenario: Scenario, settings: Mapping[str, Any]) -> Scenario:
    """Returns the scenario of a trial, without `[search]`."""
    table = scenario.table()
    del table["search"]
    return Scenario.parse(table, settings)


def check_space(
    scenario: Scenario, plugins: Plugins, data_dir: Path | None, check: Callable[[Experiment], None] = lambda _: None
) -> None:
    """Checks what a search would try: each end of each dimension, each of some values, the low and high ends together.

    Args:
        scenario: With a `[search]`.
        plugins: Finds what it names.
        data_dir: Where data sets are looked for first.
        check: What else a trial has to be; asked at the low and high ends.

    Raises:
        InputError: A trial would be wrong; it says which.
    """
    search = _settings(scenario)
    dimensions = search.dimensions
    for key, dimension in dimensions.items():
        for value in dimension.ends:
            with located(f"search.space, {key} = {value}"):
                _tried(scenario, {key: value})
    low, high = ({key: dimension.ends[end] for key, dimension in dimensions.items()} for end in (0, -1))
    for corner in (low, high):
        with located(f"search.space, {', '.join(f'{key} = {value}' for key, value in corner.items())}"):
            for seed in search.seeds:
                experiment = Experiment.load(_tried(scenario, {**corner, "seed": seed}), plugins, data_dir)
            check(experiment)
    for key, dimension in dimensions.items():
        for value in dimension.ends[1:-1]:
            with located(f"search.space, {key} = {value}"):
                Choices(_tried(scenario, {**low, key: value}), plugins)


def _check(scenario: Scenario, options: Options) -> None:
    """Raises InputError if trials would be wrong, or could not be carried out."""
    engine = engine_of(options)
    options.check()

    def carried_out(experiment: Experiment) -> None:
        launch.check(experiment, engine)
        engine.check(len(experiment.clients))

    check_space(scenario, Plugins(options.plugins), options.data_dir, carried_out)


def _over(trial: Trial, outcomes: Sequence[Outcome], judged: Judged) -> Trial:
    """Returns a trial with the accuracies of its runs, or with the reason why it has none."""
    problems = [f"seed {outcome.job.scenario.seed}: {outcome.problem}" for outcome in outcomes if not outcome.summary]
    if problems:
        return replace(trial, state="failed", problem="; ".join(problems))
    found = {str(outcome.job.scenario.seed): _accuracy(outcome.job.path, judged.validation) for outcome in outcomes}
    if not all(map(isfinite, found.values())):
        return replace(trial, state="failed", problem=f"there is no {judged.validation.replace('_', ' ')}")
    return replace(trial, state="completed", accuracies=found)


def _accuracy(path: Path, column: str) -> float:
    """Returns the accuracy on validation data after the last round of a run; NaN if there is none."""
    value = RunDirectory(path).rows("rounds")[-1].get(column)
    return float("nan") if value is None else float(value)


def _concluded(scenario: Scenario, path: Path, made: Sequence[Trial]) -> SearchResult:
    best = trials.best(made)
    if best is None or best.accuracy is None:
        reasons = list(dict.fromkeys(trial.problem for trial in made))
        raise RunError("\n".join([f"none of {counted(len(made), 'trial')} has a validation accuracy:", *reasons[:5]]))
    chosen, settings = _tried(scenario, best.params), _settings(scenario)
    seeds = ", ".join(map(str, settings.seeds))
    header = (
        f"# Best of {counted(len(made), 'trial')}, trial {best.number}: {_judged(scenario).title} {best.accuracy:.4f} "
        f"on validation data, mean over seeds {seeds}.\n# {best.settings}\n# Report it on other seeds.\n"
    )
    text = header + tomli_w.dumps(chosen.model_dump(mode="json", exclude_none=True, exclude_defaults=True))
    RunDirectory(path).write_text(BEST, text)
    return SearchResult(made, best, chosen, text)

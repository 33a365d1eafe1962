"""Running a scenario from Python, all runs of a sweep, or the trials of a search."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcompress import keras
from fedcompress.api.runs import Run, Sweep, path_of
from fedcompress.errors import InputError, RunError, shown, suggestion
from fedcompress.launch import run_one
from fedcompress.options import ENGINES, Options
from fedcompress.results.run.going_on import advice
from fedcompress.results.run.new_directory import new_directory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.scenario.loading import load_scenario
from fedcompress.searching import search as searching
from fedcompress.searching.trials import TABLE, Trial
from fedcompress.sweep.jobs import Watcher
from fedcompress.sweep.sweep import begin, carry_out
from fedcompress.terminal import ProgressDisplay, SweepDisplay, TrialDisplay, told_of_trial
from fedcompress.units import counted

if TYPE_CHECKING:
    import pandas as pd

Source = str | Path | Scenario | Mapping[str, Any]
"""A TOML file, the name of a scenario that ships, a `Scenario`, or what a file holds as nested tables."""


def run(
    scenario: Source,
    *,
    engine: str = "inline",
    workers: int = 1,
    seed: int | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    plugins: str | Path | Iterable[str | Path] = (),
    progress: bool = True,
    **overrides: Any,
) -> Run:
    """Runs a scenario and returns the run.

    Args:
        scenario: A TOML file, the name of a scenario that ships, a `Scenario`, or a dictionary of what a file holds.
        engine: Where clients run: "inline", "ray" or "superlink".
        workers: Clients that train at the same time.
        seed: Instead of the scenario's.
        out: Run directory, new or empty; by default `runs/NAME-DATE-TIME`.
        data_dir: Where data sets are looked for first.
        plugins: A folder of plug-ins, or several.
        progress: Show it on standard error.
        overrides: Keys of the scenario, with `__` for a dot: `rounds=3`, `groups__phone__sparsity=0.9`; keys that are
            no names in Python go in as `**{"groups.server-class.model": "big-cnn"}`.

    Raises:
        InputError: The input was wrong; nothing was written.
        RunError: The run failed; `fedcompress resume` goes on with it.

    Example:
        >>> fedcompress.run("quickstart", rounds=3).rounds[["round", "accuracy"]]  # doctest: +SKIP
    """
    loaded, options = _prepared(scenario, engine, workers, seed, data_dir, plugins, overrides)
    _check_no_search(loaded)
    if loaded.sweep is not None:
        count = len(loaded.runs())
        raise InputError(f"scenario {loaded.name!r}: is a sweep of {counted(count, 'run')}; use fedcompress.run_all.")
    named = str(scenario) if isinstance(scenario, str | Path) else loaded.name
    command = ("fedcompress.run", named, *(f"{key}={value}" for key, value in overrides.items()))
    with (
        new_directory(loaded.name, None if out is None else path_of("out", out)) as path,
        _display(progress, loaded.name) as observer,
        _announced(observer),
    ):
        run_one(loaded, path, options, observer, command)
    return Run.load(path)


def run_all(
    scenario: Source,
    *,
    engine: str = "inline",
    workers: int = 1,
    seed: int | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    plugins: str | Path | Iterable[str | Path] = (),
    progress: bool = True,
    **overrides: Any,
) -> Sweep:
    """Runs all variants and seeds of a scenario with `[sweep]`; arguments as for `run`.

    Returns:
        The list of its runs, variants outer, seeds inner, with what belongs to all of them.

    Raises:
        InputError: The input was wrong; nothing was written.
        RunError: Runs failed, each of which is named; the others are on disk.
    """
    loaded, options = _prepared(scenario, engine, workers, seed, data_dir, plugins, overrides)
    _check_no_search(loaded)
    if loaded.sweep is None:
        raise InputError(f"scenario {loaded.name!r}: has no [sweep]; use fedcompress.run.")
    with new_directory(loaded.name, None if out is None else path_of("out", out)) as path:
        begin(loaded, path, options)
        result = carry_out(loaded, path, options, partial(_display, progress), partial(_watching, progress))
    if result.problems:
        raise RunError("\n".join([*result.problems, f"go on with: {advice(path)}"]))
    return Sweep.load(path)


@dataclass(frozen=True)
class Search:
    """How a search ended.

    Attributes:
        path: Its directory.
        best: The scenario with the settings that are best on validation data; ready to be run on other seeds.
        params: These settings, by dotted keys.
        accuracy: Theirs on validation data, mean over the seeds of the search.
    """

    path: Path
    best: Scenario
    params: Mapping[str, Any]
    accuracy: float

    @property
    def table(self) -> pd.DataFrame:
        """A row per trial: its settings, its state, its accuracy on validation data (`trials.csv`)."""
        import pandas as pd

        return pd.read_csv(self.path / TABLE)


def search(
    scenario: Source,
    *,
    engine: str = "inline",
    workers: int = 1,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    plugins: str | Path | Iterable[str | Path] = (),
    progress: bool = True,
    **overrides: Any,
) -> Search:
    """Searches the settings of a scenario with `[search]` by Optuna, on validation data; arguments as for `run`.

    Into the directory of a search that was broken off, `fedcompress resume` does what is left.

    Raises:
        InputError: The input was wrong, or Optuna is not installed; nothing was written.
        RunError: No trial has an accuracy.
    """
    loaded, options = _prepared(scenario, engine, workers, None, data_dir, plugins, overrides)
    if loaded.search is None:
        raise InputError(f"scenario {loaded.name!r}: has no [search]; use fedcompress.run or fedcompress.run_all.")

    def told(trial: Trial, best: Trial | None) -> None:
        if progress:
            print(told_of_trial(trial, best, loaded), file=sys.stderr)

    with new_directory(loaded.name, None if out is None else path_of("out", out)) as path:
        searching.begin(loaded, path, options)
        result = searching.carry_out(loaded, path, options, partial(_display, progress, kind=TrialDisplay), told)
    return Search(path, result.scenario, result.best.params, result.best.accuracy or 0.0)


def _check_no_search(scenario: Scenario) -> None:
    if scenario.search is not None:
        raise InputError(f"scenario {scenario.name!r}: has a [search]; use fedcompress.search.")


def _prepared(
    scenario: Source,
    engine: str,
    workers: int,
    seed: int | None,
    data_dir: str | Path | None,
    plugins: str | Path | Iterable[str | Path],
    overrides: dict[str, Any],
) -> tuple[Scenario, Options]:
    if engine not in ENGINES:
        raise InputError(f"engine: unknown {shown(engine)}.{suggestion(str(engine), ENGINES)}")
    if not isinstance(workers, Integral) or workers < 1:
        raise InputError(f"workers: received {shown(workers)}; expected at least 1, a whole number.")
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    if not isinstance(scenario, str | Path | Scenario | Mapping):
        raise InputError(
            f"scenario: received {shown(scenario)}; expected a TOML file, the name of a scenario that ships, a "
            "dictionary or a Scenario."
        )
    source = Path(scenario) if isinstance(scenario, str) else scenario
    folder = None if data_dir is None else path_of("data_dir", data_dir)
    several = [plugins] if isinstance(plugins, str | Path) or not isinstance(plugins, Iterable) else plugins
    folders = tuple(path_of("plugins", one) for one in several)
    return load_scenario(source, dotted, seed), Options(engine, int(workers), folder, folders)


def _display(
    progress: bool, label: str, kind: type[ProgressDisplay] = ProgressDisplay
) -> AbstractContextManager[Observer]:
    return kind(label) if progress else nullcontext(Observer())


def _announced(observer: Observer) -> AbstractContextManager[None]:
    return keras.announced(observer.wait_for) if isinstance(observer, ProgressDisplay) else nullcontext()


def _watching(progress: bool, side_by_side: bool) -> AbstractContextManager[Watcher]:
    return SweepDisplay(side_by_side) if progress else nullcontext(Watcher())

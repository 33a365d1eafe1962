"""Running a scenario from Python, and all runs of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from fedcompress.api.runs import Run, Sweep
from fedcompress.errors import InputError, RunError, shown, suggestion
from fedcompress.launch import run_one
from fedcompress.options import ENGINES, Options
from fedcompress.results.run.going_on import advice
from fedcompress.results.run.new_directory import new_directory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.scenario.loading import load_scenario
from fedcompress.sweep.jobs import Watcher
from fedcompress.sweep.sweep import begin, carry_out
from fedcompress.terminal import ProgressDisplay, SweepDisplay
from fedcompress.units import counted

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
    plugins: Iterable[str | Path] = (),
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
        plugins: Folders of plug-ins.
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
    if loaded.sweep is not None:
        count = len(loaded.runs())
        raise InputError(f"scenario {loaded.name!r}: is a sweep of {counted(count, 'run')}; use fedcompress.run_all.")
    named = str(scenario) if isinstance(scenario, str | Path) else loaded.name
    command = ("fedcompress.run", named, *(f"{key}={value}" for key, value in overrides.items()))
    with (
        new_directory(loaded.name, None if out is None else Path(out)) as path,
        _display(progress, loaded.name) as observer,
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
    plugins: Iterable[str | Path] = (),
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
    if loaded.sweep is None:
        raise InputError(f"scenario {loaded.name!r}: has no [sweep]; use fedcompress.run.")
    with new_directory(loaded.name, None if out is None else Path(out)) as path:
        begin(loaded, path, options)
        result = carry_out(loaded, path, options, partial(_display, progress), partial(_watching, progress))
    if result.problems:
        raise RunError("\n".join([*result.problems, f"go on with: {advice(path)}"]))
    return Sweep.load(path)


def _prepared(
    scenario: Source,
    engine: str,
    workers: int,
    seed: int | None,
    data_dir: str | Path | None,
    plugins: Iterable[str | Path],
    overrides: dict[str, Any],
) -> tuple[Scenario, Options]:
    if engine not in ENGINES:
        raise InputError(f"engine: unknown {engine!r}.{suggestion(engine, ENGINES)}")
    if workers < 1:
        raise InputError(f"workers: received {workers}; expected at least 1.")
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    if not isinstance(scenario, str | Path | Scenario | Mapping):
        raise InputError(
            f"scenario: received {shown(scenario)}; expected a TOML file, the name of a scenario that ships, a "
            "dictionary or a Scenario."
        )
    source = Path(scenario) if isinstance(scenario, str) else scenario
    folder = None if data_dir is None else Path(data_dir)
    return load_scenario(source, dotted, seed), Options(engine, workers, folder, tuple(map(Path, plugins)))


def _display(progress: bool, label: str) -> AbstractContextManager[Observer]:
    return ProgressDisplay(label) if progress else nullcontext(Observer())


def _watching(progress: bool, side_by_side: bool) -> AbstractContextManager[Watcher]:
    return SweepDisplay(side_by_side) if progress else nullcontext(Watcher())

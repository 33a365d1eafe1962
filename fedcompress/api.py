"""fedcompress from Python, for notebooks and scripts: the same runs in the same directories as on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from fedcompress.errors import InputError, RunError, suggestion
from fedcompress.launch import run_one
from fedcompress.models import reading
from fedcompress.options import ENGINES, Options
from fedcompress.results.deployed import deployed_accuracy
from fedcompress.results.run.directory import file_names
from fedcompress.results.run.going_on import advice
from fedcompress.results.run.new_directory import new_directory
from fedcompress.results.run.recorder import Observer
from fedcompress.results.runs import RunResult
from fedcompress.scenario import Scenario
from fedcompress.scenario.gallery import load_scenario
from fedcompress.sweep.jobs import Watcher, jobs_of
from fedcompress.sweep.sweep import begin, carry_out
from fedcompress.terminal import ProgressDisplay, SweepDisplay
from fedcompress.units import counted

Source = str | Path | Scenario


class Run(RunResult):
    """A run on disk: `summary`, `provenance`, `scenario`, and as pandas tables `rounds`, `clients` and `ledger`."""

    def model(self, group: str) -> Any:
        """Returns what a client of a group would deploy, as a Keras model (of tf_keras) that maps images to logits.

        A server strategy with a model of its own leaves it as `"server"`.

        Raises:
            InputError: The run has no such group, the group has no global model, or its file is not to be trusted.
        """
        files = {"server": "server", **file_names(str(g.get("name")) for g in self.scenario["groups"])}
        paths = {name: self.path / "models" / f"{file}.h5" for name, file in files.items()}
        path = paths.get(group)
        if path is None or not path.exists():
            known = [name for name, file in paths.items() if file.exists()]
            raise InputError(f"{self.path}: holds no model of {group!r}.{suggestion(group, known)}")
        return reading.read(path)

    def __repr__(self) -> str:
        rounds = self.summary["rounds"]
        known = {"deployed accuracy": deployed_accuracy(self), "global accuracy": self.summary["accuracy"]}
        tested = [f"{what} {accuracy:.4f}" for what, accuracy in known.items() if accuracy is not None]
        reached = ", ".join(tested) or "not tested"
        told = f"{self.summary['scenario']}, seed {self.seed}, {reached} after {counted(rounds, 'round')}"
        return f"Run({str(self.path)!r}: {told})"


def load(path: str | Path) -> Run:
    """Opens the directory of a run that is completed.

    Raises:
        InputError: It is no run, a sweep, or not completed.
    """
    return Run.load(path)  # type: ignore[return-value]


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
        scenario: A TOML file, the name of a scenario that ships, or a `Scenario`.
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
    command = ("fedcompress.run", str(scenario), *(f"{key}={value}" for key, value in overrides.items()))
    with (
        new_directory(loaded.name, None if out is None else Path(out)) as path,
        _display(progress, loaded.name) as observer,
    ):
        run_one(loaded, path, options, observer, command)
    return load(path)


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
) -> list[Run]:
    """Runs all variants and seeds of a scenario with `[sweep]`; arguments as for `run`.

    Returns:
        The runs, variants outer, seeds inner.

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
    return [load(job.path) for job in jobs_of(loaded, path)]


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
    source = scenario if isinstance(scenario, Scenario) else Path(scenario)
    folder = None if data_dir is None else Path(data_dir)
    return load_scenario(source, dotted, seed), Options(engine, workers, folder, tuple(map(Path, plugins)))


def _display(progress: bool, label: str) -> AbstractContextManager[Observer]:
    return ProgressDisplay(label) if progress else nullcontext(Observer())


def _watching(progress: bool, side_by_side: bool) -> AbstractContextManager[Watcher]:
    return SweepDisplay(side_by_side) if progress else nullcontext(Watcher())

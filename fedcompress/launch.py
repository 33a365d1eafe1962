"""Starting a run: resolve, make the run directory, start an engine, run, finish. The command line and notebooks call it."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fedcompress.errors import RunError
from fedcompress.experiment import Experiment
from fedcompress.plugins import Plugins
from fedcompress.results.recorder import Observer, Recorder, Row, Silent
from fedcompress.results.run_directory import RunDirectory
from fedcompress.scenario import Scenario

RUNS = Path("runs")
_PACKAGES = ("fedcompress", "flwr", "ray", "tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy")


def default_directory(name: str) -> Path:
    """Returns `runs/NAME-DATE-TIME`, with a number if that is taken."""
    stem = f"{name.replace(' ', '-')}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    path, number = RUNS / stem, 2
    while path.exists():
        path, number = RUNS / f"{stem}-{number}", number + 1
    return path


def run_one(
    scenario: Scenario,
    path: Path,
    *,
    engine: str = "inline",
    workers: int = 1,
    data_dir: Path | None = None,
    plugins: Sequence[Path] = (),
    observer: Observer | None = None,
    fail_fast: bool = False,
    command: Sequence[str] = (),
) -> Row:
    """Runs a scenario without sweep into a new directory and returns its summary.

    Raises:
        InputError: Scenario, data, plug-ins or directory; nothing has been written then.
        RunError: The run failed; what was finished is on disk.
    """
    experiment = Experiment.load(scenario, Plugins(tuple(plugins)), data_dir)
    started = datetime.datetime.now(datetime.timezone.utc)
    made_with = provenance(experiment, engine, workers, command, started)
    directory = RunDirectory.create(path, experiment.scenario.toml(), made_with)
    recorder = Recorder(experiment, directory, engine)
    try:
        summary = _run(experiment, recorder, directory, engine, workers, observer or Silent(), fail_fast)
    except (RunError, KeyboardInterrupt) as error:
        status = "failed" if isinstance(error, RunError) else "interrupted"
        directory.write_json("summary.json", recorder.summary(status, {}, None, {}))
        raise
    ended = datetime.datetime.now(datetime.timezone.utc)
    directory.write_json("provenance.json", {**made_with, "end": ended.isoformat()})
    directory.write_json("summary.json", summary)
    return summary


def _run(
    experiment: Experiment,
    recorder: Recorder,
    directory: RunDirectory,
    engine: str,
    workers: int,
    observer: Observer,
    fail_fast: bool,
) -> Row:
    from flwr.app import Context, RecordDict
    from flwr.serverapp import Grid

    from fedcompress.client_app import make_client_app
    from fedcompress.engines.inline import InlineGrid
    from fedcompress.results.export import export_models
    from fedcompress.server_app import make_server_app, run_rounds

    grid = InlineGrid(make_client_app(lambda _: experiment), len(experiment.clients), workers)
    results: list[Row] = []

    def main(grid: Grid, context: Context) -> None:
        state, summary = run_rounds(grid, experiment, recorder, observer, fail_fast=fail_fast)
        files = export_models(experiment, state, directory.path / "models")
        for name, sizes in files.items():
            summary["groups"][name] |= sizes
        results.append(summary)

    try:
        make_server_app(main)(grid, Context(1, 1, {}, RecordDict(), {}))
    finally:
        grid.close()
    return results[0]


def provenance(
    experiment: Experiment, engine: str, workers: int, command: Sequence[str], started: datetime.datetime
) -> Mapping[str, Any]:
    """Returns what a run was made with: versions, commit, machine, engine, data, plug-ins, command, seed, start."""
    return {
        "versions": {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        **_commit(),
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        },
        "engine": engine,
        "workers": workers,
        "command": list(command or sys.argv),
        "seed": experiment.scenario.seed,
        "scenario_digest": experiment.scenario.digest,
        "data_digest": experiment.data.digest,
        "plugins_digest": experiment.plugins.digest,
        "start": started.isoformat(),
        "end": None,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> dict[str, Any]:
    """The commit of the source tree, and whether it has changes; null in an installed package."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str | None:
        if not (root / ".git").exists():
            return None
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}

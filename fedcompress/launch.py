"""Starting and resuming runs: resolve, make the run directory, start an engine, run, finish."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcompress.errors import InputError, RunError
from fedcompress.experiment import Experiment
from fedcompress.plugins import Plugins
from fedcompress.results.provenance import provenance
from fedcompress.results.recorder import Observer, Recorder, Row, Silent
from fedcompress.results.run_directory import RunDirectory
from fedcompress.scenario import Scenario

RUNS = Path("runs")


@dataclass(frozen=True)
class Options:
    """How a run is carried out; none of it changes the result.

    Attributes:
        engine: Where clients run.
        workers: Clients that train at the same time.
        data_dir: Where data sets are looked for first.
        plugins: Folders of plug-ins.
        fail_fast: End at the first failure of a client.
    """

    engine: str = "inline"
    workers: int = 1
    data_dir: Path | None = None
    plugins: tuple[Path, ...] = ()
    fail_fast: bool = False

    def table(self) -> dict[str, Any]:
        """Returns the options as plain values, for the provenance."""
        return {
            "engine": self.engine,
            "workers": self.workers,
            "data_dir": None if self.data_dir is None else str(self.data_dir.resolve()),
            "plugins": [str(folder.resolve()) for folder in self.plugins],
        }

    @classmethod
    def of(cls, made_with: dict[str, Any]) -> Options:
        """Returns the options that a provenance records."""
        data_dir = made_with["data_dir"]
        return cls(
            made_with["engine"],
            made_with["workers"],
            None if data_dir is None else Path(data_dir),
            tuple(map(Path, made_with["plugins"])),
        )


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
    options: Options | None = None,
    observer: Observer | None = None,
    command: Sequence[str] = (),
) -> Row:
    """Runs a scenario without sweep into a new directory and returns its summary.

    Raises:
        InputError: Scenario, data, plug-ins or directory; nothing has been written then.
        RunError: The run failed; what was finished is on disk.
    """
    options = options or Options()
    experiment = Experiment.load(scenario, Plugins(options.plugins), options.data_dir)
    made_with = provenance(experiment, options.table(), command or sys.argv)
    directory = RunDirectory.create(path, experiment.scenario.toml(), made_with)
    return _finish(experiment, directory, options, observer or Silent())


def resume_one(path: Path, observer: Observer | None = None) -> Row:
    """Goes on with a run from its last whole round, to the result that it would have had without the break.

    Returns:
        The summary; of a run that is completed, the one it has.

    Raises:
        InputError: There is no run, or its scenario, data or plug-ins are not what they were.
    """
    directory = RunDirectory(path)
    made_with = directory.read_json("provenance.json")
    if directory.status == "completed":
        return directory.read_json("summary.json")
    options = Options.of(made_with)
    scenario = Scenario.load(path / "scenario.toml")
    experiment = Experiment.load(scenario, Plugins(options.plugins), options.data_dir)
    digests = {
        "scenario.toml": ("scenario_digest", experiment.scenario.digest),
        "the data": ("data_digest", experiment.data.digest),
        "the plug-ins": ("plugins_digest", experiment.plugins.digest),
    }
    if changed := [what for what, (key, digest) in digests.items() if made_with[key] != digest]:
        raise InputError(f"resume {path}: {', '.join(changed)} changed since the run began; start a new run.")
    return _finish(experiment, directory, options, observer or Silent())


def _finish(experiment: Experiment, directory: RunDirectory, options: Options, observer: Observer) -> Row:
    """Runs what is left to run and writes how it ended."""
    recorder = Recorder(experiment, directory, options.engine)
    try:
        summary = _run(experiment, recorder, directory, options, observer)
    except RunError:
        directory.write_json("summary.json", recorder.summary("failed"))
        raise
    except KeyboardInterrupt:
        directory.write_json("summary.json", recorder.summary("interrupted"))
        raise
    except OSError as error:
        raise RunError(f"{directory.path}: {error.strerror or error}; make room and resume the run.") from error
    made_with = directory.read_json("provenance.json")
    directory.write_json("provenance.json", {**made_with, "end": datetime.datetime.now(datetime.UTC).isoformat()})
    directory.write_json("summary.json", summary)
    return summary


def _run(
    experiment: Experiment, recorder: Recorder, directory: RunDirectory, options: Options, observer: Observer
) -> Row:
    from flwr.app import Context, RecordDict
    from flwr.serverapp import Grid

    from fedcompress.engines import start
    from fedcompress.results.checkpoint import Checkpoints
    from fedcompress.server_app import make_server_app, run_rounds

    checkpoints = Checkpoints(directory)
    if not checkpoints.exists:
        checkpoints.reset()
    summaries: list[Row] = []

    def main(grid: Grid, context: Context) -> None:
        state, summary = run_rounds(
            grid,
            experiment,
            recorder,
            checkpoints,
            observer,
            workers=options.workers,
            fail_fast=options.fail_fast,
        )
        from fedcompress.results.export import export_models

        for name, sizes in export_models(experiment, state, directory.path / "models").items():
            summary["groups"][name] |= sizes
        summaries.append(summary)

    with start(options.engine, experiment, options.workers, checkpoints.states) as grid:
        make_server_app(main)(grid, Context(1, 1, {}, RecordDict(), {}))
    return summaries[0]

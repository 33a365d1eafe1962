"""Starting and resuming runs: resolve, make the run directory, have the engine run it, write how it ended."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from flwr.serverapp import Grid

from fedcompress.engines import engine_of
from fedcompress.engines.engine import Engine, LiveRun
from fedcompress.errors import NO_ROOM, InputError, RunError
from fedcompress.experiment import Experiment
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.results import export
from fedcompress.results.client_models import export_client_models
from fedcompress.results.reading import BEGUN, checked
from fedcompress.results.report import write_report
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory, finite
from fedcompress.results.run.missing import optional
from fedcompress.results.run.provenance import provenance
from fedcompress.results.run.recorder import Observer, Recorder
from fedcompress.results.run.samples import SampleReport
from fedcompress.results.runs import find_runs
from fedcompress.rows import GroupSummary, Summary
from fedcompress.scenario import Scenario
from fedcompress.server_app import run_rounds
from fedcompress.tracking import trackers
from fedcompress.tracking.trackers import Trackers


def run_one(
    scenario: Scenario,
    path: Path,
    options: Options | None = None,
    observer: Observer | None = None,
    command: Sequence[str] = (),
    *,
    report: bool = True,
) -> Summary:
    """Runs a scenario without sweep into a new directory and returns its summary; `report`: writes `report.html`, too.

    Raises:
        InputError: Scenario, data, plug-ins or directory; nothing has been written then.
        RunError: The run failed; what was finished is on disk.
    """
    options = options or Options()
    experiment = prepared(scenario, options)
    directory = create(experiment, path, options, command or sys.argv)
    return finish(experiment, directory, engine_of(options), observer or Observer(), report=report)


def resume_one(path: Path, observer: Observer | None = None, *, report: bool = True) -> Summary:
    """Goes on with a run from its last whole round, to the result that it would have had without the break.

    Args:
        path: The run directory.
        observer: Watches it.
        report: Whether to write `report.html` at the end.

    Returns:
        The summary; of a run that is completed, the one it has.

    Raises:
        InputError: There is no run, or its scenario, data or plug-ins are not what they were.
    """
    directory = RunDirectory(path)
    directory.finish_making()
    if directory.unbegun and (path / "scenario.toml").exists():
        return run_one(Scenario.load(path / "scenario.toml"), path, observer=observer, report=report)
    made_with = _begun_with(directory)
    scenario = Scenario.load(path / "scenario.toml")
    if directory.status == "completed":
        if scenario.digest != made_with["scenario_digest"]:
            raise InputError(f"resume {path}: scenario.toml changed since the run began; start a new run.")
        if report and not (path / "report.html").exists():  # killed before it was written
            _report(directory)
        return directory.summary
    options = Options.of(made_with, path / "provenance.json")
    experiment, engine = prepared(scenario, options), engine_of(options)
    check_unchanged(experiment, directory, engine)
    return finish(experiment, directory, engine, observer or Observer(), report=report)


def start_or_resume(
    scenario: Scenario,
    path: Path,
    options: Options,
    observer: Observer | None = None,
    command: Sequence[str] = (),
) -> Summary:
    """Runs a part of a sweep in its directory, from wherever an earlier try has got to; the sweep has the report."""
    if RunDirectory(path).begun:
        return resume_one(path, observer, report=False)
    return run_one(scenario, path, options, observer, command, report=False)


def prepared(scenario: Scenario, options: Options) -> Experiment:
    """Returns the experiment of a scenario without sweep.

    Raises:
        InputError: Scenario, data or plug-ins, or it is nothing for the engine.
    """
    options.check()
    experiment, engine = Experiment.load(scenario, Plugins(options.plugins), options.data_dir), engine_of(options)
    check(experiment, engine)
    engine.check(len(experiment.clients))
    return experiment


def check(experiment: Experiment, engine: Engine) -> None:
    """Raises InputError if an experiment is nothing for the engine, a tracker is absent or a model does not fit."""
    engine.check_clients(len(experiment.clients))
    check_privacy(experiment, engine)
    trackers.check(experiment)
    experiment.check_models()


def check_privacy(experiment: Experiment, engine: Engine) -> None:
    """Raises InputError if clients would be promised a privacy that they would not have."""
    settings = experiment.scenario.privacy
    if settings is None or not engine.clients_are_apart:
        return
    problems = []
    if settings.noise == "seed":
        problems.append(
            f'privacy.noise: received "seed", but with engine {engine.options.engine} clients are apart from the '
            'server, which knows the seed and could take the noise off; use noise = "system".'
        )
    if settings.unit == "client":
        problems.append(
            f'privacy.unit: received "client", for which the server adds the noise, but with engine '
            f'{engine.options.engine} clients add their own; use unit = "example".'
        )
    if problems:
        raise InputError(problems)


def create(experiment: Experiment, path: Path, options: Options, command: Sequence[str]) -> RunDirectory:
    """Makes the directory of a new run, with its scenario and provenance.

    Raises:
        InputError: It is in use, or cannot be written.
    """
    return RunDirectory.create(path, experiment.scenario.toml(), provenance(experiment, options.table(), command))


def check_unchanged(experiment: Experiment, directory: RunDirectory, engine: Engine) -> None:
    """Raises InputError if a run cannot go on to the result that it would have had."""
    made_with = _begun_with(directory)
    digests = {
        "scenario.toml": ("scenario_digest", experiment.scenario.digest),
        "the data": ("data_digest", experiment.data.digest),
        "the plug-ins": ("plugins_digest", experiment.plugins.digest),
    }
    if changed := [what for what, (key, digest) in digests.items() if made_with[key] != digest]:
        raise InputError(f"resume {directory.path}: {', '.join(changed)} changed since the run began; start a new run.")
    engine.check_resumable(directory)


def finish(
    experiment: Experiment, directory: RunDirectory, engine: Engine, observer: Observer, *, report: bool = True
) -> Summary:
    """Runs what is left to run, writes how it ended, and returns the summary as it is on disk.

    A Flower app bundle carries no page templates: there, `fedcompress report` writes the page afterwards.
    """
    recorder = Recorder(experiment, directory, engine.options.engine)
    run = LiveRun(experiment, directory, recorder, Checkpoints(directory), observer)
    with _failure_recorded(run):
        summary = cast(Summary, finite(engine.run(run, lambda grid: _rounds(run, engine.options, grid))))
    made_with = directory.read_json("provenance.json")
    directory.write_json("provenance.json", {**made_with, "end": datetime.datetime.now(datetime.UTC).isoformat()})
    directory.write_json("summary.json", summary)
    if report:
        _report(directory)
    return summary


def _rounds(run: LiveRun, options: Options, grid: Grid) -> Summary:
    """Runs what is left to run on a grid, exports the models, and returns the summary."""
    missing: list[str] = []
    with run.directory.locked(), Trackers(run.experiment, run.directory, missing) as tracking:
        if not run.checkpoints.exists:
            run.checkpoints.reset()
        state, summary = run_rounds(
            grid,
            run.experiment,
            run.recorder,
            run.checkpoints,
            run.observer,
            samples=SampleReport(run.experiment, run.directory, missing),
            trackers=tracking,
            workers=options.workers,
            fail_fast=options.fail_fast,
        )
        for name, sizes in export.export_models(run.experiment, state, run.directory.path / "models", missing).items():
            summary["groups"][name] |= cast(GroupSummary, sizes)
        if run.experiment.scenario.evaluation.client_models:
            models = run.directory.path / "models"
            export_client_models(run.experiment, state, run.checkpoints.states, models, missing)
        tracking.finished(summary)
    return {**summary, "missing": missing} if missing else summary


@contextmanager
def _failure_recorded(run: LiveRun) -> Iterator[None]:
    """Writes the summary of a run that is interrupted or fails; a disk that takes no more is an error of its own."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        advice = "make room" if error.errno in NO_ROOM else "put that right"
        where = error.filename or run.directory.path
        raise RunError(f"{where}: {error.strerror or error}; {advice} and resume the run.") from error
    except KeyboardInterrupt:
        run.directory.write_json("summary.json", run.recorder.summary("interrupted"))
        raise
    except Exception:
        run.directory.write_json("summary.json", run.recorder.summary("failed"))
        raise


def _begun_with(directory: RunDirectory) -> dict[str, Any]:
    """Returns the provenance of a run that is to go on.

    Raises:
        InputError: It is absent or damaged.
    """
    return checked(directory.path / "provenance.json", directory.read_json("provenance.json"), BEGUN)


def _report(directory: RunDirectory) -> None:
    """Writes `report.html`; a run is no less completed without it."""
    with optional(f"{directory.path}/report.html"):
        write_report(find_runs([directory.path]))

"""Starting and resuming runs: resolve, make the run directory, start an engine, run, finish."""

from __future__ import annotations

import datetime
import errno
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fedcompress.errors import MOST_PROBLEMS, InputError, RunError, reason
from fedcompress.experiment import Experiment
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.results.reading import BEGUN, checked
from fedcompress.results.run.directory import RunDirectory, as_json, check_free
from fedcompress.results.run.missing import optional
from fedcompress.results.run.provenance import provenance
from fedcompress.results.run.recorder import Observer, Recorder, Silent
from fedcompress.rows import GroupSummary, Summary
from fedcompress.scenario import Scenario
from fedcompress.sweep.sequential import Job, Outcome, Runner
from fedcompress.tracking import trackers

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.serverapp import Grid

    from fedcompress.results.compare.comparison import Comparison
    from fedcompress.results.run.checkpoint import Checkpoints

RUNS = Path("runs")


@contextmanager
def new_directory(name: str, out: Path | None = None, root: Path = RUNS) -> Iterator[Path]:
    """Yields where a new run, sweep or recipe goes: `out`, or else `runs/NAME-DATE-TIME`, with a number if taken.

    That one is made at once, so that no two processes get the same, and removed again if nothing comes to be in it.

    Raises:
        InputError: `out` is in use, or no directory can be made.
    """
    if out is not None:
        check_free(out)
        yield out
        return
    stem = f"{name.replace(' ', '-')}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    path = next(path for path in chain([root / stem], (root / f"{stem}-{n}" for n in count(2))) if _made(path))
    try:
        yield path
    finally:
        with suppress(OSError):  # something is in it
            path.rmdir()
            root.rmdir()


def _made(path: Path) -> bool:
    """Makes a directory; says whether it was this process that did."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise InputError(f"{path}: cannot be made: {error.strerror}; name another place with --out.") from None
    return True


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
    made_with = provenance(experiment, options.table(), command or sys.argv)
    directory = RunDirectory.create(path, experiment.scenario.toml(), made_with)
    summary = _finish(experiment, directory, options, observer or Silent())
    if report:
        _report(directory)
    return summary


def prepared(scenario: Scenario, options: Options) -> Experiment:
    """Returns the experiment of a scenario without sweep.

    Raises:
        InputError: Scenario, data or plug-ins, or it is nothing for the engine.
    """
    from fedcompress import engines

    options.check()
    experiment = Experiment.load(scenario, Plugins(options.plugins), options.data_dir)
    _check(experiment, options)
    engines.check(options, len(experiment.clients))
    return experiment


def _check(experiment: Experiment, options: Options) -> None:
    """Raises InputError if an experiment is nothing for the engine, a tracker is absent or a model does not fit."""
    if options.engine == "superlink":
        from fedcompress.engines import superlink

        superlink.check(experiment)
    trackers.check(experiment)
    experiment.check_models()


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
    if directory.status == "completed":
        if Scenario.load(path / "scenario.toml").digest != made_with["scenario_digest"]:
            raise InputError(f"resume {path}: scenario.toml changed since the run began; start a new run.")
        if report and not (path / "report.html").exists():  # killed before it was written
            _report(directory)
        return directory.summary
    options = Options.of(made_with, path / "provenance.json")
    experiment = prepared(Scenario.load(path / "scenario.toml"), options)
    _check_unchanged(experiment, directory)
    summary = _finish(experiment, directory, options, observer or Silent())
    if report:
        _report(directory)
    return summary


def start_or_resume(
    scenario: Scenario,
    path: Path,
    options: Options,
    observer: Observer | None = None,
    command: Sequence[str] = (),
) -> Summary:
    """Runs a part of a sweep in its directory, from wherever an earlier try has got to; the sweep has the report."""
    directory = RunDirectory(path)
    if directory.begun:
        return resume_one(path, observer, report=False)
    return run_one(scenario, path, options, observer, command, report=False)


def sweep_runner(options: Options, display: Callable[[str], AbstractContextManager[Observer]]) -> Runner:
    """Returns what carries out the runs of a sweep: side by side on Ray, otherwise one after the other.

    A run that fails, for whatever reason, is an outcome like any other, unless `options.fail_fast`.

    Args:
        options: How runs are carried out.
        display: Makes an observer for the run of a label, where there is one run at a time.
    """
    from fedcompress.sweep import side_by_side

    def one_by_one(jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in jobs:
            try:
                with display(f"[{job.number}/{job.of}] {job.label}") as observer:
                    outcome = Outcome(job, start_or_resume(job.scenario, job.path, options, observer))
            except Exception as error:
                if options.fail_fast:
                    raise
                outcome = Outcome(job, None, reason(error))
            yield outcome

    if side_by_side.fits(options):
        return lambda jobs: side_by_side.run_side_by_side(jobs, options)
    return one_by_one


def begin_sweep(scenario: Scenario, path: Path, options: Options) -> None:
    """Checks every run of a sweep, then makes its directory.

    Raises:
        InputError: Runs would be wrong, or the directory is in use; nothing has been written then.
    """
    _check_sweep(scenario, options)
    _check_sweep_engine(scenario, options)
    RunDirectory.made(path, {"options.json": as_json(options.table()), "scenario.toml": scenario.toml()})


def _check_sweep(scenario: Scenario, options: Options) -> None:
    """Raises InputError with all that is wrong with a sweep's runs: each problem once, with its variant, and with its
    seeds if others do not have it. Models, which are the same for all seeds, are built for one."""
    assert scenario.sweep is not None
    plugins, seeds = Plugins(options.plugins), [str(seed) for seed in scenario.sweep.seeds]
    found: dict[tuple[str, str], list[str]] = {}
    fit: set[str] = set()
    for label, single in scenario.runs():
        variant, _, seed = label.rpartition(" seed ")
        if seed == seeds[0] and len(found) > MOST_PROBLEMS:
            break  # more would not be shown
        try:
            experiment = Experiment.load(single, plugins, options.data_dir)
        except InputError as error:
            for problem in error.problems:
                found.setdefault((variant, problem), []).append(seed)
            continue
        if variant not in fit:
            fit.add(variant)
            try:
                _check(experiment, options)
            except InputError as error:
                found |= {(variant, problem): seeds for problem in error.problems}
    problems = [
        f"sweep variant {variant!r}{'' if having == seeds else ', seed ' + ', '.join(having)}: {problem}"
        for (variant, problem), having in found.items()
    ]
    if problems:
        raise InputError(problems)


def _check_sweep_engine(scenario: Scenario, options: Options) -> None:
    """Raises InputError if the runs of a sweep cannot have their engine."""
    from fedcompress import engines
    from fedcompress.sweep import side_by_side

    runs = scenario.runs()
    options.check()
    most = len(runs) if side_by_side.fits(options) else max(single.data.clients for _, single in runs)
    engines.check(options, most)


def conclude_sweep(path: Path) -> Comparison:
    """Compares the runs of a sweep that are completed, and writes the comparison, and the report if that is possible.

    Raises:
        InputError: None is, or it cannot be written.
    """
    from fedcompress.results.compare import tables
    from fedcompress.results.compare.comparison import compare
    from fedcompress.results.report import write_report
    from fedcompress.results.runs import find_runs

    found = find_runs([path])
    comparison = compare(found)
    tables.write(comparison, path)
    with optional(f"{path}/report.html"):
        write_report(found)
    return comparison


def serve(grid: Grid, context: Context) -> None:
    """Runs what the run configuration of a Flower app describes, on any grid; the main function of the ServerApp.

    The results are in `out`, or else in a new folder under the Flower home. If `out` holds a run that is not completed,
    it goes on: the engine "superlink" hands over such a directory, and so does a user who resumes on real hosts.
    """
    from flwr.supercore.utils import get_flwr_home

    from fedcompress.engines import superlink
    from fedcompress.terminal import ProgressDisplay

    config = {**superlink.CONFIG, **context.run_config}
    experiment = superlink.experiment_of(config)
    options = superlink.options_of(config)
    name, out = experiment.scenario.name, str(config["out"])
    with ExitStack() as stack:
        directory = RunDirectory(Path(out))
        if out and directory.begun and directory.status != "completed":
            _check_unchanged(experiment, directory)
        else:
            path = stack.enter_context(new_directory(name, Path(out) if out else None, get_flwr_home() / RUNS))
            made_with = provenance(experiment, options.table(), sys.argv)
            directory = RunDirectory.create(path, experiment.scenario.toml(), made_with)
        print(f"results: {directory.path.resolve()}", flush=True)
        superlink.wait_for_nodes(grid, len(experiment.clients))
        with ProgressDisplay(name) as display:
            _finish(experiment, directory, options, display, grid)
        _report(directory)


def _begun_with(directory: RunDirectory) -> dict[str, Any]:
    """Returns the provenance of a run that is to go on.

    Raises:
        InputError: It is absent or damaged.
    """
    return checked(directory.path / "provenance.json", directory.read_json("provenance.json"), BEGUN)


def _check_unchanged(experiment: Experiment, directory: RunDirectory) -> None:
    """Raises InputError if a run cannot go on to the result that it would have had."""
    made_with = _begun_with(directory)
    digests = {
        "scenario.toml": ("scenario_digest", experiment.scenario.digest),
        "the data": ("data_digest", experiment.data.digest),
        "the plug-ins": ("plugins_digest", experiment.plugins.digest),
    }
    if changed := [what for what, (key, digest) in digests.items() if made_with[key] != digest]:
        raise InputError(f"resume {directory.path}: {', '.join(changed)} changed since the run began; start a new run.")
    if made_with["engine"] == "superlink":
        from fedcompress.engines import superlink

        superlink.check_resumable(directory)


def _finish(
    experiment: Experiment, directory: RunDirectory, options: Options, observer: Observer, grid: Grid | None = None
) -> Summary:
    """Runs what is left to run, on a grid that is there or on the engine, and writes how it ended."""
    recorder = Recorder(experiment, directory, options.engine)
    try:
        summary = _run(experiment, recorder, directory, options, observer, grid)
    except InputError:
        raise
    except OSError as error:
        advice = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "put that right"
        where = error.filename or directory.path
        raise RunError(f"{where}: {error.strerror or error}; {advice} and resume the run.") from error
    except KeyboardInterrupt:
        directory.write_json("summary.json", recorder.summary("interrupted"))
        raise
    except Exception:
        directory.write_json("summary.json", recorder.summary("failed"))
        raise
    made_with = directory.read_json("provenance.json")
    directory.write_json("provenance.json", {**made_with, "end": datetime.datetime.now(datetime.UTC).isoformat()})
    directory.write_json("summary.json", summary)
    return summary


def _report(directory: RunDirectory) -> None:
    """Writes `report.html`; a run is no less completed without it.

    A Flower app bundle carries no page templates: there, `fedcompress report` writes the page afterwards.
    """
    from fedcompress.results.report import write_report
    from fedcompress.results.runs import find_runs

    with optional(f"{directory.path}/report.html"):
        write_report(find_runs([directory.path]))


def _run(
    experiment: Experiment,
    recorder: Recorder,
    directory: RunDirectory,
    options: Options,
    observer: Observer,
    grid: Grid | None,
) -> Summary:
    from flwr.app import Context, RecordDict

    from fedcompress.engines import start
    from fedcompress.results.run.checkpoint import Checkpoints

    checkpoints = Checkpoints(directory)
    if options.engine == "superlink" and grid is None:
        return _follow(experiment, recorder, directory, options, observer)
    from fedcompress.results.run.samples import SampleReport
    from fedcompress.server_app import make_server_app, run_rounds
    from fedcompress.tracking.trackers import Trackers

    summaries: list[Summary] = []
    missing: list[str] = []

    def main(grid: Grid, context: Context) -> None:
        with directory.locked(), Trackers(experiment, directory, missing) as trackers:
            if not checkpoints.exists:
                checkpoints.reset()
            state, summary = run_rounds(
                grid,
                experiment,
                recorder,
                checkpoints,
                observer,
                samples=SampleReport(experiment, directory, missing),
                trackers=trackers,
                workers=options.workers,
                fail_fast=options.fail_fast,
            )
            from fedcompress.results.export import export_models

            exported = export_models(experiment, state, directory.path / "models", missing)
            for name, sizes in exported.items():
                summary["groups"][name] |= cast(GroupSummary, sizes)
            trackers.finished(summary)
            summaries.append(summary)

    context = Context(1, 1, {}, RecordDict(), {})
    if grid is not None:
        main(grid, context)
    else:
        with start(options, experiment, checkpoints.states) as started:
            make_server_app(main)(started, context)
    return summaries[0] | ({"missing": missing} if missing else {})


def _follow(
    experiment: Experiment, recorder: Recorder, directory: RunDirectory, options: Options, observer: Observer
) -> Summary:
    """Runs in other processes, and takes in what they leave if they do not get to the end."""
    from fedcompress.engines import superlink
    from fedcompress.results.run.checkpoint import Checkpoints

    _take_back(Checkpoints(directory))
    try:
        return superlink.run_deployed(experiment, directory, options, observer)
    except (RunError, KeyboardInterrupt):
        _take_back(Checkpoints(directory))
        recorder.restore()
        raise


def _take_back(checkpoints: Checkpoints) -> None:
    """Leaves on disk what whole rounds have left there."""
    if checkpoints.exists:
        checkpoints.load()
    else:
        checkpoints.reset()

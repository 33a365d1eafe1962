"""The command line. Everything heavy is imported inside the command that needs it: --help answers at once."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import click
import typer

from fedcompress import __version__, quiet
from fedcompress.errors import (
    MOST_CHARACTERS,
    FedcompressError,
    InputError,
    RunError,
    cut,
    located,
    printable_lines,
)
from fedcompress.recipes.distill.settings import METHODS, DistillSettings

INTERRUPTED = 130
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SHOWN = 8
"""Runs of a sweep that `show` prints."""

app = typer.Typer(
    help="Federated learning with compressed models, simulated on Flower and measured byte by byte.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    suggest_commands=False,  # click's own message already suggests
)

ScenarioFile = Annotated[Path, typer.Argument(help="A scenario: a TOML file, or the name of one that ships.")]
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. rounds=20.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Replace the seed, or all seeds of a sweep.")]
DataDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Where to look for data sets first.")]
PluginDirs = Annotated[
    list[Path], typer.Option("--plugins", metavar="DIR", help="Folder of plug-ins; may be repeated.")
]


class Engine(StrEnum):
    """Where clients run."""

    inline = "inline"
    ray = "ray"
    superlink = "superlink"


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"fedcompress {__version__}")
        raise typer.Exit


@app.command()
def run(
    scenario: ScenarioFile,
    engine: Annotated[Engine, typer.Option(help="Where clients run.")] = Engine.inline,
    workers: Annotated[int, typer.Option(min=1, help="Clients that train at the same time.")] = 1,
    set_: Set = [],  # noqa: B006
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run directory; default runs/NAME-DATE-TIME.")] = None,
    data_dir: DataDir = None,
    plugins: PluginDirs = [],  # noqa: B006
    ray_address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="A running Ray cluster.")] = None,
    cpus_per_worker: Annotated[float, typer.Option(min=0.0, help="CPUs that a Ray worker reserves.")] = 1.0,
    gpus_per_worker: Annotated[float, typer.Option(min=0.0, help="GPUs that a Ray worker reserves.")] = 0.0,
    track: Annotated[
        list[str], typer.Option("--track", metavar="TRACKER", help="tensorboard, wandb or mlflow; may be repeated.")
    ] = [],  # noqa: B006
    json: Annotated[bool, typer.Option("--json", help="Print the summary alone on standard output.")] = False,
    debug: Annotated[bool, typer.Option(help="Stop at the first client that fails, and show where.")] = False,
) -> None:
    """Run a scenario, or all variants and seeds of its sweep."""
    from fedcompress.launch import begin_sweep, new_directory, run_one
    from fedcompress.options import Options

    loaded = _load(scenario, set_, seed, {"tracking.trackers": track} if track else {})
    options = Options(
        engine.value, workers, data_dir, tuple(plugins), debug, ray_address, cpus_per_worker, gpus_per_worker
    )

    with new_directory(loaded.name, out) as path:
        if loaded.sweep is not None:
            begin_sweep(loaded, path, options)
        _finish(loaded, path, options, lambda display: run_one(loaded, path, options, display), as_json=json)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="A run directory, or the directory of a sweep.")],
    json: Annotated[bool, typer.Option("--json", help="Print the summary alone on standard output.")] = False,
) -> None:
    """Go on with a run that was interrupted, failed or killed, to the identical result."""
    from fedcompress.launch import resume_one
    from fedcompress.options import Options
    from fedcompress.results.run.directory import RunDirectory
    from fedcompress.scenario import Scenario

    RunDirectory(run).finish_making()
    if (run / "recipe.toml").exists():
        _compress(run, None, None, as_json=json)
        return
    if RunDirectory(run).unbegun and not (run / "scenario.toml").exists():
        raise InputError(f"resume {run}: was ended before anything of it was written; start it again with --out {run}.")
    if not (run / "scenario.toml").exists():
        raise InputError(
            f"resume {run}: holds no scenario.toml or recipe.toml; expected the directory of a run, sweep or recipe."
        )
    loaded = Scenario.load(run / "scenario.toml")
    file = run / "options.json"
    options = Options.of(RunDirectory(run).read_json(file.name), file) if loaded.sweep else Options()
    _finish(loaded, run, options, lambda display: resume_one(run, display), as_json=json)


def _finish(loaded: Any, path: Path, options: Any, one: Callable[[Any], Any], *, as_json: bool) -> None:
    """Runs a scenario, or what its sweep consists of, and shows how it ended."""
    from fedcompress.launch import sweep_runner
    from fedcompress.plugins import Plugins
    from fedcompress.sweep import side_by_side
    from fedcompress.sweep.sequential import run_sweep
    from fedcompress.terminal import ProgressDisplay, SweepDisplay, summary_table

    try:
        if loaded.sweep is None:
            with ProgressDisplay(loaded.name) as display:
                summary = one(display)
            _show(summary, summary_table(summary), as_json=as_json)
        else:
            runner, found = sweep_runner(options, ProgressDisplay), Plugins(options.plugins)
            with SweepDisplay(side_by_side=side_by_side.fits(options)) as watcher:
                rows, problems = run_sweep(loaded, path, runner, watcher, found)
            _close_sweep(path, rows, as_json=as_json)
            if problems:
                raise RunError("\n".join(problems))
    except (RunError, KeyboardInterrupt):
        _say_how_to_go_on(path, "scenario.toml")
        raise
    print(f"results: {path}", file=sys.stderr)


def _say_how_to_go_on(path: Path, needed: str) -> None:
    """Says so if something was begun."""
    if (path / needed).exists():
        print(f"go on with: fedcompress resume {path}", file=sys.stderr)


def _close_sweep(path: Path, rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Compares the runs of a sweep that are completed."""
    from fedcompress.launch import conclude_sweep
    from fedcompress.results.compare import tables

    closing: dict[str, Any] = {"run": path.name, "variants": rows}
    if not any(row["seeds"] for row in rows):
        _show(closing, f"no run of {len(rows)} variants is completed", as_json=as_json)
        return
    comparison = conclude_sweep(path)
    _show(
        closing | {"comparison": tables.to_json(comparison)},
        tables.render_terminal(tables.text_tables(comparison)),
        as_json=as_json,
    )
    for note in tables.notes(comparison):
        print(note, file=sys.stderr)


RunNames = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Directories of runs or sweeps; each may be LABEL=DIR.")
]


@app.command()
def compare(
    runs: RunNames,
    target: Annotated[
        float | None, typer.Option(metavar="ACCURACY", help="Add rounds, seconds and bytes until this test accuracy.")
    ] = None,
    fail_if: Annotated[
        str | None,
        typer.Option(metavar="EXPRESSION", help="End with code 3 if it holds: 'accuracy < baseline - 0.01'."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="Variant to compare the others with; default: the first.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write .csv, .md, .html or .json; or all into a directory.")
    ] = None,
    any_data: Annotated[bool, typer.Option("--any-data", help="Compare runs of different data sets, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the comparison alone on standard output.")] = False,
) -> None:
    """Compare runs over seeds: means, 95 % intervals, and whether a difference is more than noise."""
    from fedcompress.results.compare import tables
    from fedcompress.results.compare.caveats import check_same_task
    from fedcompress.results.compare.comparison import compare as compare_runs
    from fedcompress.results.compare.condition import Condition
    from fedcompress.results.runs import find_runs

    found = find_runs(runs)
    if not any_data:
        check_same_task(found.runs)
    comparison = compare_runs(found, baseline=baseline, target=target)
    condition = None if fail_if is None else Condition(fail_if, [figure.name for figure in comparison.figures])
    failure = comparison.failure(condition) if condition else None
    if out is not None:
        tables.write(comparison, out)
    rendered = tables.render_terminal(tables.text_tables(comparison))
    _show(tables.to_json(comparison), rendered, as_json=json)
    for note in tables.notes(comparison):
        print(note, file=sys.stderr)
    if failure:
        raise failure


@app.command()
def report(
    runs: RunNames,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; default: report.html in the first directory.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(metavar="ACCURACY", help="Add rounds, seconds and bytes until this test accuracy.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="Variant to compare the others with; default: the first.")
    ] = None,
) -> None:
    """Write one HTML page about runs or sweeps that opens offline."""
    from fedcompress.results.report import write_report
    from fedcompress.results.runs import find_runs

    print(write_report(find_runs(runs, unfinished=True), out, target=target, baseline=baseline))


@app.command("list")
def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            help="strategies, clients, models, methods, datasets, compression, values, partitions, devices, scenarios, "
            "recipes"
        ),
    ] = None,
    plugins: PluginDirs = [],  # noqa: B006
) -> None:
    """List what scenarios can name."""
    from fedcompress.devices import DEVICES
    from fedcompress.errors import suggestion
    from fedcompress.plugins import KINDS, Plugins
    from fedcompress.scenario.gallery import shipped

    found = Plugins(tuple(plugins))
    names = {folder: found.names(folder) for folder in KINDS}
    names["devices"] = list(DEVICES)
    names |= {folder: sorted(path.stem for path in shipped(folder)) for folder in ("scenarios", "recipes")}
    if what is not None and what not in names:
        raise InputError(f"list {what}: unknown.{suggestion(what, names)}")
    for title in [what] if what else names:
        print(title if what is None else "", end="\n" if what is None else "")
        for name in names[title]:
            print(f"  {name}" if what is None else name)


@app.command()
def show(
    scenario: ScenarioFile,
    set_: Set = [],  # noqa: B006
    seed: Seed = None,
    data_dir: DataDir = None,
    plugins: PluginDirs = [],  # noqa: B006
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the label distribution as HTML.")] = None,
) -> None:
    """Print the resolved scenario and the label distribution over clients."""
    from fedcompress.data.plot import render_plot, render_table, write_plot
    from fedcompress.experiment import Experiment
    from fedcompress.files import check_output
    from fedcompress.plugins import Plugins
    from fedcompress.progress import console

    screen = console()
    loaded = _load(scenario, set_, seed)
    runs = loaded.runs()
    if plot is not None and len(runs) > 1:
        raise InputError(
            f"--plot {plot}: the scenario is a sweep of {len(runs)} runs; choose one with --set and --seed."
        )
    if plot is not None:
        check_output(plot, "--plot")
    for label, single in runs[:SHOWN]:
        with located(f"sweep variant {label.rpartition(' seed ')[0]!r}") if loaded.sweep else nullcontext():
            experiment = Experiment.load(single, Plugins(tuple(plugins)), data_dir)
        screen.rule(label)
        print(experiment.scenario.toml())
        distribution = experiment.data.distribution
        screen.print(render_table(distribution))
        screen.print(render_plot(distribution, columns=screen.width))
        if plot is not None:
            try:
                write_plot(distribution, plot)
            except OSError as error:
                raise InputError(f"--plot {plot}: cannot be written: {error.strerror}.") from None
            print(f"plot: {plot}")
    if len(runs) > SHOWN:
        print(f"and {len(runs) - SHOWN} more runs of the sweep")


@app.command()
def distill(
    teacher: Annotated[str, typer.Option(metavar="MODEL", help="Architecture of the teacher.")],
    student: Annotated[str, typer.Option(metavar="MODEL", help="Architecture of the student.")],
    data: Annotated[str, typer.Option(metavar="DATASET", help="Data set that both learn.")],
    methods: Annotated[
        list[str], typer.Option(metavar="METHOD", help=f"One of {', '.join(METHODS)}; may be repeated; default: all.")
    ] = [],  # noqa: B006
    epochs: Annotated[int, typer.Option(help="Epochs of every student.")] = DistillSettings.epochs,
    teacher_epochs: Annotated[int, typer.Option(help="Epochs of the teacher.")] = DistillSettings.teacher_epochs,
    seeds: Annotated[int, typer.Option(help="Repetitions, each with a teacher of its own.")] = DistillSettings.seeds,
    temperature: Annotated[float, typer.Option(help="Temperature of softened logits.")] = DistillSettings.temperature,
    alpha: Annotated[float, typer.Option(help="Weight of the teacher's logits, 0 to 1.")] = DistillSettings.alpha,
    reduction: Annotated[
        int, typer.Option(help="How many times narrower the projector's middle is than the teacher's features.")
    ] = DistillSettings.reduction,
    sparsity: Annotated[float, typer.Option(help="Prune the students to this fraction of zeros.")] = 0.0,
    examples: Annotated[int | None, typer.Option(help="Training examples; default: all.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write results.json and results.csv here.")] = None,
    data_dir: DataDir = None,
    plugins: PluginDirs = [],  # noqa: B006
    json: Annotated[bool, typer.Option("--json", help="Print the results alone on standard output.")] = False,
) -> None:
    """Train a student by knowledge distillation, several ways, and compare them with plain training."""
    settings = DistillSettings(
        teacher=teacher,
        student=student,
        data=data,
        methods=tuple(methods) or METHODS,
        epochs=epochs,
        teacher_epochs=teacher_epochs,
        seeds=seeds,
        temperature=temperature,
        alpha=alpha,
        reduction=reduction,
        sparsity=sparsity,
        examples=examples,
    )
    from fedcompress.plugins import Plugins
    from fedcompress.recipes.display import RecipeDisplay
    from fedcompress.recipes.distill import comparison, report
    from fedcompress.results.run.directory import RunDirectory

    directory = None if out is None else RunDirectory.made(out)
    with RecipeDisplay("distill", "models") as display:
        found = comparison.distill(settings, data_dir=data_dir, plugins=Plugins(tuple(plugins)), observer=display)
    if directory is not None:
        report.write(found, directory)
    _show(report.summary(found), report.comparison_table(found), as_json=json)
    if out is not None:
        print(f"results: {out}", file=sys.stderr)


@app.command()
def compress(
    recipe: Annotated[
        Path | None, typer.Argument(help="A recipe: a TOML file, or the name of one that ships; or use options.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's name, as in mlp:100-50, or a Keras file.")] = None,
    data: Annotated[str | None, typer.Option(metavar="DATASET", help="Data set that it learns.")] = None,
    method: Annotated[str | None, typer.Option(help="How it is compressed; see: fedcompress list methods.")] = None,
    sparsity: Annotated[float | None, typer.Option(help="The method's fraction of zeros.")] = None,
    bits: Annotated[int | None, typer.Option(help="The method's bits of a weight.")] = None,
    param: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="Another parameter of the method; may be repeated.")
    ] = [],  # noqa: B006
    epochs: Annotated[int | None, typer.Option(help="Epochs of each training.")] = None,
    examples: Annotated[int | None, typer.Option(help="Training examples; default: all.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Repetitions, with the seeds 1, 2, ...")] = None,
    set_: Set = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Results; default runs/NAME-DATE-TIME.")] = None,
    data_dir: DataDir = None,
    plugins: PluginDirs = [],  # noqa: B006
    json: Annotated[bool, typer.Option("--json", help="Print the rows alone on standard output.")] = False,
) -> None:
    """Train, compress and measure one model: a recipe, or one method given by options."""
    from fedcompress.launch import new_directory
    from fedcompress.options import Options
    from fedcompress.recipes.recipe import Recipe, one_method
    from fedcompress.scenario.gallery import named
    from fedcompress.scenario.overrides import parse_assignment

    overrides: dict[str, Any] = {
        "model": model,
        "data.dataset": data,
        "training.epochs": epochs,
        "data.examples": examples,
    }
    overrides["seeds"] = None if seeds is None else list(range(1, seeds + 1))
    overrides = {key: value for key, value in overrides.items() if value is not None}
    overrides |= dict(map(parse_assignment, set_))
    params = {"sparsity": sparsity, "bits": bits}
    params = {key: value for key, value in params.items() if value is not None} | dict(map(parse_assignment, param))
    if recipe is None:
        if method is None:
            raise InputError("compress: expected a RECIPE, or --method (see: fedcompress list recipes, list methods).")
        loaded = Recipe.parse(one_method(method, params), overrides)
    else:
        if method is not None or params:
            raise InputError(
                "compress: --method, --sparsity, --bits and --param are for use without a RECIPE; use --set."
            )
        loaded = Recipe.load(named(recipe, "recipes"), overrides)
    with new_directory(loaded.name, out) as path:
        _compress(path, loaded, Options(data_dir=data_dir, plugins=tuple(plugins)), as_json=json)


def _compress(path: Path, recipe: Any, options: Any, *, as_json: bool) -> None:
    """Runs a recipe into a directory, or what is missing there of the one that it holds, and shows the table."""
    from fedcompress.recipes import launch
    from fedcompress.recipes.display import RecipeDisplay
    from fedcompress.recipes.table import DETAILS, problems, result_table

    try:
        with RecipeDisplay() as display:
            rows = launch.resume(path, display) if recipe is None else launch.start(recipe, path, options, display)
        shown = [{key: value for key, value in row.items() if key not in DETAILS} for row in rows]
        _show({"run": path.name, "rows": shown}, result_table(path.name, rows), as_json=as_json)
        if failed := problems(rows):
            raise RunError("\n".join(f"experiment {problem}" for problem in failed))
    except (RunError, KeyboardInterrupt):
        _say_how_to_go_on(path, "recipe.toml")
        raise
    print(f"results: {path}", file=sys.stderr)


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Say what is installed, which engines and data sets there are, and how to get what is missing."""
    from fedcompress.doctor import report
    from fedcompress.progress import console

    screen = console()
    print(report(data_dir, screen.width if screen.is_terminal else None))


def _load(scenario: Path, assignments: list[str], seed: int | None, also: dict[str, Any] | None = None) -> Any:
    from fedcompress.scenario.gallery import load_scenario
    from fedcompress.scenario.overrides import parse_assignment

    return load_scenario(scenario, dict(map(parse_assignment, assignments)) | (also or {}), seed)


def _show(table: Mapping[str, Any], rendered: Any, *, as_json: bool) -> None:
    if as_json:
        import json

        from fedcompress.results.run.directory import finite

        print(json.dumps(finite(table)))
    else:
        from fedcompress.progress import console

        console().print(rendered)


def _command() -> Any:
    """Returns the command with what it says of its arguments, which Typer 0.20 loses to a default of Click 8.5."""
    command: Any = typer.main.get_command(app)
    for single in command.commands.values():
        annotated = get_type_hints(single.callback, include_extras=True)
        for parameter in single.params:
            if isinstance(parameter, click.Argument):
                parameter.help = annotated[parameter.name].__metadata__[0].help  # type: ignore[attr-defined,unused-ignore]
    return command


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Has the signals that ask a process to end do what Ctrl-C does, but for the exit code: 128 and the signal."""
    received: list[int] = []

    def interrupt(number: int, _: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    asking = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup has one ignored
    for number in asking:
        signal.signal(number, interrupt)
    try:
        yield
    except SystemExit:
        if received:
            sys.exit(128 + received[0])
        raise
    finally:
        for number in asking:
            signal.signal(number, signal.SIG_DFL)


@_ended_by_signals()
def main() -> None:
    """Runs the command line; every expected failure is one clear message and an exit code."""
    quiet.apply()
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # plug-ins as package.module:Class from where the user stands
    try:
        code = _command()(standalone_mode=False)
        if code == INTERRUPTED:
            print("interrupted", file=sys.stderr)
        sys.exit(code)
    except FedcompressError as error:
        for line in printable_lines(str(error)).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            print(f"error: what was asked for cannot be written: {error.strerror}", file=sys.stderr)
            sys.exit(RunError.exit_code)
        if error.filename is None:
            raise
        print(f"error: {cut(str(error.filename), MOST_CHARACTERS)}: {error.strerror}", file=sys.stderr)
        sys.exit(InputError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)

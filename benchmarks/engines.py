"""fedcompress beside a bare TensorFlow loop and plain Flower + Keras, on the same work and in one run.

    python -m benchmarks.engines                      every contestant once, about ten minutes on 2 cores
    python -m benchmarks.engines --pairs 7            median ratios of seven interleaved repetitions
    python -m benchmarks.engines --work small --contestants bare-1 --contestants inline-1

Work: Fashion-MNIST, 100 IID clients of 600 images, medium-cnn or resnet-8, Adam, batch 64, one epoch, a test on 10,000
images after each round, everyone from the same initial weights of the same network. Every figure is taken from outside
the contestant's processes, except for the first round's duration and `own clock`, which are its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.process import ROOT, Watched, watch
from benchmarks.report import Asked, console, load, print_asked, print_machine, write

FEDCOMPRESS = str(Path(sys.executable).with_name("fedcompress"))
SCENARIO = ROOT / "benchmarks" / "work.toml"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PACE = "seconds a round"


@dataclass(frozen=True)
class Work:
    """How much there is to do.

    Attributes:
        name: On the command line.
        cohort: Clients in a round.
        rounds: Rounds of a run.
        tolerance: Most that final accuracies may differ by.
        model: Network.
        clients: Number of clients.
    """

    name: str
    cohort: int
    rounds: int
    tolerance: float
    model: str = "medium-cnn"
    clients: int = 100

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"{self.model}, {self.cohort} of {self.clients} clients x {self.rounds} rounds"


WORKS = {
    work.name: work
    for work in (
        Work("tiny", 5, 2, 0.15),
        Work("small", 10, 20, 0.02),
        Work("full", 100, 3, 0.02),
        Work("resnet", 10, 3, 0.05, "resnet-8"),
    )
}


@dataclass(frozen=True)
class Contestant:
    """Something that can do the work.

    Attributes:
        name: On the command line.
        what: What it is, in words.
        module: Of this package, that takes the arguments of `bare`; None for fedcompress.
        arguments: Further arguments.
    """

    name: str
    what: str
    module: str | None
    arguments: tuple[str, ...]

    def run(self, work: Work, data_dir: Path, initial: Path, limit: float) -> Watched:
        """Does the work in processes of its own, to the end."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if self.module:
                rounds = folder / "rounds.jsonl"
                sizes = {"clients": work.clients, "cohort": work.cohort, "rounds": work.rounds}
                files = {"data": data_dir, "initial": initial, "out": rounds}
                options = [f"--{key}={value}" for key, value in {"model": work.model, **sizes, **files}.items()]
                command = [sys.executable, "-m", f"benchmarks.{self.module}", *options]
            else:
                rounds = folder / "run" / "rounds.jsonl"
                command = [FEDCOMPRESS, "run", str(SCENARIO), f"--out={folder / 'run'}", f"--data-dir={data_dir}"]
                settings = {
                    "groups.all.model": work.model,
                    "rounds": work.rounds,
                    "data.clients": work.clients,
                    "server.cohort": work.cohort / work.clients,
                }
                command += [f"--set={key}={value}" for key, value in settings.items()]
            silent = {"TF_CPP_MIN_LOG_LEVEL": "3", "FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
            local = {"FLWR_HOME": str(folder / "flwr"), "FLWR_DISABLE_UPDATE_CHECK": "1"}
            return watch([*command, *self.arguments], rounds, environment=silent | local, limit=limit)


def _fedcompress(engine: str, workers: int) -> Contestant:
    options = (f"--engine={engine}", f"--workers={workers}")
    return Contestant(f"{engine}-{workers}", f"fedcompress run {' '.join(options)}", None, options)


CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("bare-1", "bare TensorFlow loop, one process", "bare", ("--processes=1",)),
        _fedcompress("inline", 1),
        Contestant("bare-2", "bare TensorFlow loop, two processes", "bare", ("--processes=2",)),
        _fedcompress("inline", 2),
        _fedcompress("ray", 2),
        Contestant("flower-keras", "plain Flower + Keras, as in its tutorial; once", "flower_keras", ()),
    )
}
FLOWER = "flower-keras"

Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""Contestant -> the figures of each of its runs, in the order of the pairs."""


def ratios(runs: Runs, numerator: str, denominator: str, figure: str) -> list[float]:
    """Returns a ratio per pair; a contestant that ran once is compared with every run of the other."""
    above, below = ([run[figure] for run in runs.get(name, ())] for name in (numerator, denominator))
    if above and below and len(above) == 1:
        above *= len(below)
    return [a / b for a, b in zip(above, below, strict=False)]


def fastest(runs: Runs, names: Sequence[str]) -> str:
    """Returns which contestant has the lowest median of seconds a round; of none, the first."""
    present = [name for name in names if runs.get(name)] or list(names)[:1]
    return min(present, key=lambda name: median([run["round"] for run in runs.get(name, ())] or [0.0]))


def asked(work: Work, runs: Runs) -> list[Asked]:
    """Returns what is demanded of this work and was measured."""
    two, best = fastest(runs, ("inline-2", "ray-2")), fastest(runs, ("inline-1", "inline-2", "ray-2"))
    demands = [
        Asked(f"inline-1 / bare-1, {PACE}", ratios(runs, "inline-1", "bare-1", "round"), 1.05),
        Asked(f"{two} / bare-2, {PACE}", ratios(runs, two, "bare-2", "round"), 1.10),
    ]
    if work.name == "small":
        demands.append(Asked("inline-2 / bare-2, whole process", ratios(runs, "inline-2", "bare-2", "wall"), 1.25))
    if work.name == "full":
        flower = ratios(runs, FLOWER, best, "round")
        demands.append(Asked(f"flower-keras / {best}, {PACE}", flower, 20.0, at_least=True))
    for name in ("inline-1", "inline-2"):
        first = [run["to_first"] for run in runs.get(name, ())]
        demands.append(Asked(f"{name}: seconds from start to first finished round", first, 12.0))
    return [demand for demand in demands if demand.values]


def print_runs(work: Work, runs: Runs) -> None:
    """Prints a row of medians per contestant."""
    columns = {
        "wall s": ("wall", "{:.1f}"),
        "s a round": ("round", "{:.3f}"),
        "own clock": ("own_round", "{:.3f}"),
        "first round s": ("first_round", "{:.2f}"),
        "to first s": ("to_first", "{:.1f}"),
        "CPU s": ("processor", "{:.1f}"),
        "peak MiB": ("peak", "{:,.0f}"),
        "accuracy": ("accuracy", "{:.4f}"),
    }
    table = Table("contestant", title=f"{work.name}: {work.title}, medians", title_justify="left")
    for title in ("runs", *columns):
        table.add_column(title, justify="right")
    for name, own in runs.items():
        if own:
            figures = [form.format(median(run[key] for run in own)) for key, form in columns.values()]
            table.add_row(name, str(len(own)), *figures)
    console.print(table)


def agree(work: Work, runs: Runs) -> bool:
    """Says, and returns, whether all final accuracies are within the tolerance."""
    found = {name: [run["accuracy"] for run in own] for name, own in runs.items() if own}
    everything = [accuracy for own in found.values() for accuracy in own]
    if not everything:
        return True
    apart = max(everything) - min(everything)
    if apart <= work.tolerance:
        console.print(f"Accuracies agree: {apart:.4f} apart, allowed {work.tolerance:g}.\n")
        return True
    console.print(f"[red]Accuracies DISAGREE: {apart:.4f} apart, allowed {work.tolerance:g}; the work differs.[/red]\n")
    return False


def initial_weights(model: str, file: Path, data_dir: Path) -> None:
    """Writes the weights that everyone starts from: those of our scenario with a network."""
    command = [sys.executable, "-m", "benchmarks.start", str(SCENARIO), str(file), str(data_dir), model]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SystemExit(f"the initial weights could not be made:\n{made.stderr}")


class Bench:
    """One run of this program.

    Attributes:
        results: What `--out` gets.
        broken: Whether a contestant failed.
    """

    def __init__(self, data_dir: Path, folder: Path, out: Path | None, limit: float) -> None:
        self.results: dict[str, Any] = {"machine": print_machine(), "work": {}}
        self.broken = False
        self._data_dir, self._folder, self._out, self._limit = data_dir, folder, out, limit
        self._absent: set[str] = set()

    def work(self, work: Work, contestants: Sequence[Contestant], pairs: int) -> bool:
        """Runs the contestants in turn, `pairs` times, and prints the figures; returns whether accuracies agree."""
        runs: dict[str, list[dict[str, float]]] = {contestant.name: [] for contestant in contestants}
        entry = self.results["work"][work.name] = {**asdict(work), "runs": runs, "asked": [], "agree": None}
        initial = self._folder / f"{work.model}.npz"
        if not initial.exists():
            initial_weights(work.model, initial, self._data_dir)
        for pair in range(pairs):
            for contestant in contestants:
                if contestant.name not in self._absent and not (contestant.name == FLOWER and pair):
                    runs[contestant.name] += self._one(work, contestant, initial, f"{work.name} {pair + 1}/{pairs}")
                    write(self._out, self.results)
        demands = asked(work, runs)
        print_runs(work, runs)
        if demands and work.name != "tiny":
            print_asked(demands)
        entry["asked"] = [demand.row() for demand in demands]
        entry["agree"] = agree(work, runs)
        write(self._out, self.results)
        return bool(entry["agree"])

    def _one(self, work: Work, contestant: Contestant, initial: Path, label: str) -> list[dict[str, float]]:
        """Returns the figures of a run; none if it failed, or if this fedcompress does not have the engine."""
        before = load()
        watched = contestant.run(work, self._data_dir, initial, self._limit)
        if watched.code == 2 and "--engine" in watched.output:
            self._absent.add(contestant.name)
            print(f"{label} {contestant.name}: skipped, this fedcompress does not have the engine", file=sys.stderr)
            return []
        if watched.code != 0 or len(watched.rounds) != work.rounds:
            self.broken = True
            how = "ran out of time" if watched.code is None else f"ended with code {watched.code}"
            print(f"{label} {contestant.name}: {how}, {len(watched.rounds)} rounds", file=sys.stderr)
            print("\n".join(watched.output.splitlines()[-20:]), file=sys.stderr)
            return []
        figures = {**watched.figures(), "load_before": before}
        print(f"{label} {contestant.name}: {watched.wall:.1f} s, {figures['round']:.3f} s a round", file=sys.stderr)
        return [figures]


def chosen(names: Sequence[str], known: Mapping[str, Any], option: str) -> list[Any]:
    """Returns what was named, in the order in which it is known."""
    if unknown := sorted(set(names) - known.keys()):
        raise typer.BadParameter(f"unknown {', '.join(unknown)}; known are {', '.join(known)}", param_hint=option)
    return [value for name, value in known.items() if name in names]


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    work: Annotated[list[str], typer.Option(help=f"{', '.join(WORKS)}; repeat for several.")] = ["small", "full"],  # noqa: B006
    contestants: Annotated[list[str], typer.Option(help=f"{', '.join(CONTESTANTS)}; repeat for several.")] = [  # noqa: B006
        *CONTESTANTS
    ],
    pairs: Annotated[int, typer.Option(min=1, help="Interleaved repetitions.")] = 1,
    flower: Annotated[bool, typer.Option(help="Plain Flower + Keras takes minutes; it is run once.")] = True,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON.")] = None,
    data_dir: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the four IDX files.")] = DEBIAN,
    limit: Annotated[float, typer.Option(help="Seconds that one run may take.")] = 1800.0,
) -> None:
    """Compare fedcompress with a bare TensorFlow loop and with plain Flower + Keras, on the same work."""
    works = chosen(work, WORKS, "--work")
    running = [c for c in chosen(contestants, CONTESTANTS, "--contestants") if flower or c.name != FLOWER]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(data_dir, Path(folder), out, limit)
        for contestant in running:
            console.print(f"  {contestant.name}: {contestant.what}")
        agreed = [bench.work(one, running, pairs) for one in works]
    raise typer.Exit(0 if all(agreed) and not bench.broken else 1)


if __name__ == "__main__":
    app()

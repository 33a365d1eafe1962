"""Sub-models against masks: what the smallest and the largest devices run, at equal parameters and at equal bytes.

    python -m benchmarks.submodels --out FILE [--methods heterofl,masks] [--seeds 1,2] [--equal bytes] [--public]

The setting of scenarios/distillation: a tenth of Fashion-MNIST, 6,000 images, ten clients, Dirichlet 0.5, 10 rounds of
2 epochs, batches of 32, in equal shares of the widths 1, 1/2, 1/4 and 1/8. `heterofl`, `fjord` and `fedrolex` have
slices of these widths; `channel` removes channels by their L1 norm, `masks` the smallest weights, and `nested` is
`masks` whose clients train the sub-networks of sparser ones, too.

`--equal parameters`: the latter have as many weights left as the slice, after a ramp. `--equal bytes`: as much crosses
in both directions over the whole run as for the slices of HeteroFL; their masks then have no dense rounds before them,
and are as sparse as follows from a run at equal parameters without a ramp, which is made first.

`--public` adds 1,000 held-out images, on which each method's sub-models are taught by its global model, by the same
steps (`server.params.tiers = "kd"`); without it nobody has other data than its own. The two are tables of their own.

A method's learning rate is the one of RATES that is best on the server's validation examples, as a mean over its groups
and the seeds 101 to 103, at equal parameters and without public data; all tables have it. What is reported is test
accuracy on other seeds. What is in FILE is not done again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import nan
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from benchmarks.federations import finished
from benchmarks.report import console, machine, print_machine
from benchmarks.results import command_of
from fedcompress.compression.kinds.slice import prefixes
from fedcompress.compression.size import measure
from fedcompress.experiment import Experiment
from fedcompress.groups import Group
from fedcompress.models import channels
from fedcompress.models.architecture import ModelSpec
from fedcompress.page.blocks import TextTable
from fedcompress.plugins import Plugins
from fedcompress.results.compare.formats import markdown
from fedcompress.results.compare.statistics import Difference, Interval
from fedcompress.scenario import Scenario
from fedcompress.strategy import State
from fedcompress.training.trainer import evaluate

SLICES = ("heterofl", "fjord", "fedrolex")
METHODS = (*SLICES, "channel", "masks", "nested")
RATES = (0.001, 0.003, 0.01, 0.03)
CHOSEN_ON = (101, 102, 103)
SHAPE, CLASSES = (28, 28, 1), 10

Equal = Literal["parameters", "bytes"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One run but for its method, learning rate and seed."""

    model: str
    widths: tuple[float, ...]
    equal: Equal
    public: bool


def scenario(case: Case, method: str, rate: float, seed: int, densities: Sequence[float]) -> Scenario:
    """Returns the federation.

    Args:
        case: What is compared.
        method: One of METHODS.
        rate: Learning rate.
        seed: Of the run.
        densities: Fraction of the prunable weights that each group of a method without slices keeps.
    """
    groups = [
        {"name": name_of(width), "share": 1 / len(case.widths), "model": case.model}
        | _parts(case, method, width, density, smallest=width == min(case.widths))
        for width, density in zip(case.widths, densities, strict=True)
    ]
    public = {"public": {"source": "holdout", "examples": 1000}} if case.public else {}
    return Scenario.parse(
        {
            "name": f"submodels-{method}",
            "rounds": 10,
            "seed": seed,
            "data": {
                "dataset": "fashion-mnist",
                "examples": 6000,
                "clients": 10,
                "partition": "dirichlet",
                "alpha": 0.5,
                "server_validation": 0.1,
            },
            "training": {"epochs": 2, "batch_size": 32, "learning_rate": rate},
            "wire": {"values": "float16"},
            "evaluation": {"tflite": False},
            "server": {
                "strategy": method if method in SLICES else "fedavg",
                "params": {"tiers": "kd"} if case.public else {},
            },
            "groups": groups,
            **public,
        }
    )


def _parts(case: Case, method: str, width: float, density: float, *, smallest: bool) -> Row:
    """Client strategy and compression of one group."""
    if method in SLICES:
        client = "sgd" if method == "fedrolex" else method
        params = {"widths": list(case.widths)} if method == "fjord" else {}
        return {
            "client": client,
            "params": params,
            "compression": "slice",
            "compression_params": {"width": width},
        }
    client = "nested" if method == "nested" and not smallest else "sgd"
    if width == 1:
        return {"client": client}
    kind = "channel" if method == "channel" else "magnitude"
    ramp: Row = {"begin_round": 2, "end_round": 6, "freeze_round": 8}
    if case.equal == "bytes":
        # Weights that are still untrained say little of layers as a whole: each keeps its share by its shape.
        scope = {"scope": "erk"} if kind == "magnitude" else {}
        ramp = {"schedule": "constant", "begin_round": 0, "end_round": 1, "freeze_round": 3, **scope}
    return {
        "client": client,
        "compression": kind,
        "sparsity": round(1 - density, 6),
        "compression_params": {"mask": "server", **ramp},
    }


def name_of(width: float) -> str:
    return f"width-{width:g}".replace(".", "_")


def slice_densities(case: Case) -> list[float]:
    """Returns, for each width, which fraction of the prunable weights leaves as many parameters as the slice has."""
    spec = ModelSpec(case.model, Plugins().architecture(case.model), SHAPE, CLASSES)
    prunable = sum(spec.template[i].size for i in spec.prunable)
    others = spec.parameters - prunable
    return [(_narrowed(spec, width).parameters - others) / prunable for width in case.widths]


def _narrowed(spec: ModelSpec, width: float) -> ModelSpec:
    return channels.narrowed(spec, [int(kept.sum()) for kept in prefixes(spec, width)])


def measured(case: Case, method: str, rate: float, seed: int, densities: Sequence[float]) -> Row:
    """Runs one federation and returns what each group deploys and what crossed for it."""
    parsed = scenario(case, method, rate, seed, densities)
    experiment = Experiment.load(parsed, Plugins())
    experiment.check_models()
    run = finished(experiment)
    groups = {name: _of_group(experiment, run.state, group, run.ledger) for name, group in experiment.groups.items()}
    return {
        **key(case, method, rate, seed),
        "densities": list(densities),
        "global": run.summary["accuracy"],
        "groups": groups,
        "processor_seconds": run.seconds,
    }


def key(case: Case, method: str, rate: float, seed: int) -> Row:
    """Returns what tells a run from others, as it is in FILE."""
    return {**asdict(case), "widths": list(case.widths), "method": method, "rate": rate, "seed": seed}


def _of_group(experiment: Experiment, state: State, group: Group, ledger: Iterable[Mapping[str, Any]]) -> Row:
    """What a group's clients run, which is one model for all of them, what it costs, and bytes of a client."""
    weights = experiment.deployed(state, experiment.clients[group.clients[0]])
    assert weights is not None
    spec, small = group.compression.deployed(group.model, weights)
    built = spec.build()
    built.set_weights(small)
    crossed = [row for row in ledger if row["client"] in group.clients]
    return {
        "accuracy": evaluate(spec, small, experiment.data.test_examples).accuracy,
        "validation": evaluate(spec, small, experiment.data.server_validation_examples).accuracy,
        **asdict(measure(built)),
        "bytes": sum(row["wire_bytes"] for row in crossed) / len(group.clients),
        "mask_bytes": sum(row["wire_bytes"] for row in crossed if row["content"] == "mask") / len(group.clients),
    }


class Runs:
    """What has been measured, in a file.

    Args:
        path: A JSON object per run, a line each; None to forget them.
        case: What is compared.
        rate: Learning rate of all methods; None to choose each one's.
    """

    def __init__(self, path: Path | None, case: Case, rate: float | None = None) -> None:
        self._path, self._case, self._rate = path, case, rate
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.exists() else []
        self._rows: list[Row] = [json.loads(line) for line in lines]

    def of(
        self, method: str, rate: float, seed: int, densities: Sequence[float] | None = None, case: Case | None = None
    ) -> Row:
        """Returns a run; runs it if it is not in the file.

        Args:
            method: One of METHODS.
            rate: Learning rate.
            seed: Of the run.
            densities: Of what is not a slice; by default as many parameters as the slices have.
            case: By default what is compared.
        """
        case = case or self._case
        if method in SLICES:
            case = replace(case, equal="parameters")  # slices are the same
        given = densities or slice_densities(case)
        wanted = {**key(case, method, rate, seed), "densities": list(given)}
        for row in self._rows:
            if all(row[name] == value for name, value in wanted.items()):
                return row
        row = measured(case, method, rate, seed, given)
        self._rows.append(row)
        console.print_json(json.dumps(row), indent=None)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return row

    def reported(self, method: str, rate: float, seed: int) -> Row:
        """Returns the run that is reported: of what is no slice, at equal bytes, one that crosses as many as HeteroFL.

        Values are most of the bytes, so a run with other densities says which ones to take.
        """
        if self._case.equal == "parameters" or method in SLICES:
            return self.of(method, rate, seed)
        first, slices = self.of(method, rate, seed), self.of("heterofl", self.rate_of("heterofl"), seed)
        pairs = [(slices["groups"][name]["bytes"], found["bytes"]) for name, found in first["groups"].items()]
        scaled = [
            density if width == 1 else min(density * wanted / got, 1.0)
            for (wanted, got), density, width in zip(pairs, first["densities"], self._case.widths, strict=True)
        ]
        return self.of(method, rate, seed, scaled)

    def rate_of(self, method: str) -> float:
        """Returns the learning rate that does best on validation examples, over all groups and CHOSEN_ON."""
        if self._rate is not None:
            return self._rate
        case = replace(self._case, equal="parameters", public=False)

        def judged(rate: float) -> float:
            rows = [self.of(method, rate, seed, case=case) for seed in CHOSEN_ON]
            return mean(group["validation"] for row in rows for group in row["groups"].values())

        return max(RATES, key=judged)


def table(rows: Mapping[str, Sequence[Row]], case: Case, ours: str) -> TextTable:
    """Returns means over seeds with 95 % intervals, and differences of ours to each other method, seed by seed.

    Args:
        rows: Method -> its runs.
        case: What is compared.
        ours: The method that others are compared with.
    """
    columns = (
        "group",
        "method",
        "deployed",
        f"{ours} less it",
        "global",
        "weights that are not zero",
        "multiply-adds",
        "kB a client",
        "masks, kB",
        "rate",
    )
    cells = []
    for name in map(name_of, case.widths):
        for method, runs in rows.items():
            groups = [run["groups"][name] for run in runs]
            own = {run["seed"]: run["groups"][name]["accuracy"] for run in runs}
            reference = {run["seed"]: run["groups"][name]["accuracy"] for run in rows.get(ours, [])}
            compared = Difference.of(reference, own).interval.signed(100, 2) if reference and method != ours else "-"
            row = [name, method, Interval.of(list(own.values())).percent(), compared]
            row.append(Interval.of([run["global"] for run in runs]).percent())
            row += [f"{mean(g[column] or nan for g in groups):,.0f}" for column in ("nonzero", "multiply_adds")]
            row += [f"{mean(g[column] for g in groups) / 1000:.1f}" for column in ("bytes", "mask_bytes")]
            cells.append((*row, f"{runs[0]['rate']:g}"))
    data = "with" if case.public else "without"
    title = f"{case.model}, equal {case.equal}, {data} public data: what devices run, test accuracy in %"
    caption = (
        "± is half of the 95 % interval over seeds (Student's t); differences are taken seed by seed. Bytes are both "
        "ways, of one client. A mask makes no inference faster: multiply-adds are those of the network that runs."
    )
    return TextTable(title, columns, tuple(cells), caption)


def printed(found: TextTable) -> Table:
    """Returns a table for a terminal, with a line between groups."""
    shown = Table(*found.columns[:2], title=found.title, title_justify="left", caption=found.caption)
    for name in found.columns[2:]:
        shown.add_column(name, justify="right")
    for row, following in zip(found.rows, [*found.rows[1:], found.rows[-1]], strict=True):
        shown.add_row(*row, end_section=row[0] != following[0])
    return shown


def page(found: TextTable, command: str, case: Case, rate: float | None) -> str:
    """Returns the table as a page of results, with the command and what it ran."""
    chosen = "one learning rate for all methods, which nobody chose" if rate else "learning rates chosen on validation"
    widths = ", ".join(f"{width:g}" for width in case.widths)
    lines = (
        f"- Fashion-MNIST, 6,000 images, 10 clients, Dirichlet 0.5, 10 rounds of 2 epochs, widths {widths}; {chosen}",
        f"- {', '.join(f'{name} {number}' for name, number in machine()['versions'].items() if number)}",
    )
    title = f"# sub-models, equal {case.equal}" + (", with public data" if case.public else "")
    return "\n\n".join([title, f"```\n{command}\n```", "\n".join(lines), markdown(found).strip()]) + "\n"


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A JSON object per run, a line each.")] = None,
    methods: Annotated[str, typer.Option(help=f"Some of {','.join(METHODS)}.")] = ",".join(METHODS),
    seeds: Annotated[str, typer.Option(help="That are reported.")] = "1,2,3,4,5",
    equal: Annotated[str, typer.Option(help="parameters or bytes.")] = "parameters",
    public: Annotated[bool, typer.Option(help="Teach sub-models on held-out data.")] = False,
    model: Annotated[str, typer.Option(help="Architecture.")] = "big-cnn",
    widths: Annotated[str, typer.Option(help="Of the slices, 1 among them.")] = "1,0.5,0.25,0.125",
    ours: Annotated[str, typer.Option(help="Method that the others are compared with.")] = "masks",
    rate: Annotated[float | None, typer.Option(help="Learning rate; default: chosen on validation.")] = None,
    into: Annotated[Path | None, typer.Option(metavar="PAGE", help="Write the table as a page of results.")] = None,
) -> None:
    """Compare sub-models of one federation."""
    if equal not in ("parameters", "bytes") or not set(methods.split(",")) <= set(METHODS):
        raise typer.BadParameter(f"--equal is parameters or bytes, --methods are some of {', '.join(METHODS)}")
    print_machine()
    listed = tuple(sorted(map(float, widths.split(",")), reverse=True))
    case = Case(model, listed, equal, public)
    runs = Runs(out, case, rate)
    rows = {
        method: [runs.reported(method, runs.rate_of(method), int(seed)) for seed in seeds.split(",")]
        for method in methods.split(",")
    }
    found = table(rows, case, ours)
    console.print(printed(found))
    if into is not None:
        command = command_of(sys.argv, "python -m benchmarks.submodels", {"--into": 1, "--out": 1})
        into.write_text(page(found, command, case, rate), encoding="utf-8")


if __name__ == "__main__":
    app()

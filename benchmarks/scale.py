"""Memory of `fedcompress run` as clients and rounds grow.

    python -m benchmarks.scale [--engine inline|ray] [--workers N] [--out FILE] [--page]

People: 100 clients in a round, drawn from 100 and from 100,000 people, of whom a synthetic table has a few rows each
(`partition = "natural"`). Clients: 100 in a round, drawn from 100 and from 10,000. Both: the peak of all processes
together. Rounds: 300 rounds of 5 clients out of 100, with the resident memory of every process after each round.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.engines import FEDCOMPRESS
from benchmarks.process import ROOT, Watched, watch
from benchmarks.report import Asked, console, print_asked, print_machine, write
from fedcompress.page.blocks import TextTable
from fedcompress.results.compare.formats import markdown

SCENARIO = ROOT / "benchmarks" / "scale.toml"
FEW, COHORT = 100, 100
PAGE = ROOT / "docs" / "results" / "scale.md"
ROWS, FEATURES, CLASSES = 4, 16, 4
"""Of the synthetic table: rows of a person, numbers in a row, classes."""
LONG = {"data.dataset": "mnist-5k", "data.clients": 100, "server.cohort": 0.05}


def run(settings: dict[str, Any], options: Sequence[str], *, each_round: bool = False) -> Watched:
    """Runs the scenario with settings in it, and returns how it went."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        assignments = [f"--set={key}={value}" for key, value in settings.items()]
        command = [FEDCOMPRESS, "run", str(SCENARIO), f"--out={folder}", *assignments, *options]
        watched = watch(command, folder / "rounds.jsonl", each_round=each_round)
    if watched.code != 0:
        raise SystemExit(f"{' '.join(command)}\nended with code {watched.code}:\n{watched.output}")
    return watched


def compared(what: str, counts: Sequence[int], runs: Sequence[Watched], rounds: int) -> tuple[list[Asked], TextTable]:
    """Returns the demand on the peak memory with few and with many clients, and the table of both runs."""
    found = [watched.figures() for watched in runs]
    cells = tuple(
        (f"{count:,}", f"{run['wall']:.1f}", f"{run['round']:.2f}", f"{run['to_first']:.1f}", f"{run['peak']:,.0f}")
        for count, run in zip(counts, found, strict=True)
    )
    table = TextTable(
        f"{what}: {COHORT} clients in a round, {rounds} rounds",
        (what, "wall s", "s a round", "to first s", "peak MiB"),
        cells,
        "Peak: of all processes together.",
    )
    ratio = found[1]["peak"] / found[0]["peak"]
    return [Asked(f"peak memory, {counts[1]:,} / {counts[0]:,} {what}", [ratio], 1.3)], table


def clients(many: int, rounds: int, options: Sequence[str]) -> tuple[list[Asked], TextTable]:
    """Compares the peak memory with few and with many clients, as many of them in a round."""
    counts = (FEW, many)
    settings = ({"data.clients": count, "server.cohort": COHORT / count, "rounds": rounds} for count in counts)
    return compared("clients", counts, [run(changed, options) for changed in settings], rounds)


def people(many: int, rounds: int, options: Sequence[str]) -> tuple[list[Asked], TextTable]:
    """Compares the peak memory with a table of few and of many people, each a client, as many of them in a round."""
    counts, runs = (FEW, many), []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "people.npz"
            write_people(file, count)
            data = {"dataset": f"npz:{file}", "partition": "natural", "clients": count, "minimum": ROWS}
            settings = {f"data.{key}": value for key, value in data.items()}
            settings |= {"server.cohort": COHORT / count, "rounds": rounds, "groups.all.model": "mlp:32"}
            runs.append(run(settings, options))
    return compared("people", counts, runs, rounds)


def write_people(file: Path, count: int) -> None:
    """Writes a table of so many people: classes are those of a random linear map, shifted a little for each person."""
    rng = np.random.default_rng(1)
    planes = rng.normal(size=(FEATURES, CLASSES))

    def rows(number: int, shifts: Any) -> dict[str, Any]:
        x = rng.normal(size=(number, FEATURES)).astype(np.float32)
        return {"x": x, "y": (x @ planes + shifts).argmax(axis=1).astype(np.int32)}

    owners = np.repeat(np.arange(count), ROWS)
    shifts = np.repeat(rng.normal(0, 0.5, (count, CLASSES)), ROWS, axis=0)
    train, test = rows(len(owners), shifts), rows(1000, 0.0)
    arrays = {f"{name}_train": array for name, array in train.items()}
    np.savez(file, **arrays, **{f"{name}_test": array for name, array in test.items()}, client_train=owners)


def rounds(number: int, options: Sequence[str]) -> tuple[list[Asked], dict[str, Any]]:
    """Follows the memory of every process over many rounds, and judges the last third."""
    watched = run({**LONG, "rounds": number}, options, each_round=True)
    last = watched.resident[-(number // 3) :]
    table = Table("process", title=f"{number} rounds: resident MiB of each process", title_justify="left")
    for column in ("first round", *(f"rounds {n * number // 3 + 1} to {(n + 1) * number // 3}" for n in range(3))):
        table.add_column(column, justify="right")
    asked = []
    for process in watched.resident[-1]:
        sizes = [sample[process] for sample in last if process in sample]
        if len(sizes) < len(last):
            continue  # it came later, and is not one of those that train
        whole = [sample.get(process) for sample in watched.resident]
        thirds = [[size for size in whole[n * number // 3 : (n + 1) * number // 3] if size] for n in range(3)]
        means = [f"{mean(third):.1f}" if third else "-" for third in thirds]
        table.add_row(process, f"{whole[0]:.1f}" if whole[0] else "-", *means)
        spread = 100 * (max(sizes) / min(sizes) - 1)
        asked.append(Asked(f"{process}: largest above smallest in the last {len(last)} rounds, %", [spread], 5.0))
    console.print(table)
    return asked, {"resident": watched.resident, "wall": watched.wall, "peak": watched.peak}


def show(table: TextTable) -> None:
    """Prints a table."""
    shown = Table(*table.columns, title=table.title, title_justify="left")
    for cells in table.rows:
        shown.add_row(*cells)
    console.print(shown)


def page(tables: Sequence[TextTable], asked: Sequence[Asked], found: Mapping[str, Any]) -> str:
    """Returns docs/results/scale.md."""
    parts = [
        "# scale",
        "```\npython -m benchmarks.scale --page\n```",
        f"- {found['cores']} cores ({found['processor']}); load as it began: {found['load_at_start']:.1f}",
        f"- A person has {ROWS} rows of {FEATURES} numbers in a table that is drawn; the model is `mlp:32`, pruned to "
        "0.8, so that there is a mask to remember for each client.",
        *(markdown(table).strip() for table in tables),
        "| demand | at most | measured |\n| --- | --- | --- |\n"
        + "\n".join(f"| {one.what} | {one.limit:.2f} | {one.values[0]:.2f} |" for one in asked),
    ]
    return "\n\n".join(parts) + "\n"


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    engine: Annotated[str, typer.Option(help="inline or ray.")] = "inline",
    workers: Annotated[int, typer.Option(min=1)] = 1,
    many: Annotated[int, typer.Option(min=COHORT, help="The larger number of clients.")] = 10_000,
    many_people: Annotated[int, typer.Option(min=COHORT, help="The larger number of people.")] = 100_000,
    people_rounds: Annotated[int, typer.Option(min=0, help="Rounds of the comparison by people; 0: skip it.")] = 20,
    client_rounds: Annotated[int, typer.Option(min=0, help="Rounds of the comparison by clients; 0: skip it.")] = 20,
    long_rounds: Annotated[int, typer.Option(min=0, help="Rounds of the long run; 0: skip it.")] = 300,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON.")] = None,
    write_page: Annotated[bool, typer.Option("--page", help="Write docs/results/scale.md.")] = False,
    data_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to look for Fashion-MNIST first.")] = None,
) -> None:
    """Measure how memory grows with clients and with rounds."""
    found = print_machine()
    options = [f"--engine={engine}", f"--workers={workers}"] + ([f"--data-dir={data_dir}"] if data_dir else [])
    asked: list[Asked] = []
    tables: list[TextTable] = []
    results: dict[str, Any] = {"machine": found, "options": options}
    for name, compare, count, number in (
        ("people", people, many_people, people_rounds),
        ("clients", clients, many, client_rounds),
    ):
        if number >= 2:
            answers, table = compare(count, number, options)
            show(table)
            asked, tables = asked + answers, [*tables, table]
            results[name] = table.rows
    if long_rounds >= 3:
        answers, results["rounds"] = rounds(long_rounds, options)
        asked += answers
    print_asked(asked)
    write(out, {**results, "asked": [one.row() for one in asked]})
    if write_page:
        PAGE.write_text(page(tables, asked, found), encoding="utf-8")
        console.print(str(PAGE))


if __name__ == "__main__":
    app()

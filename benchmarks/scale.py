"""Memory of `fedcompress run` as clients and rounds grow.

    python -m benchmarks.scale [--engine inline|ray] [--workers N] [--out FILE]

Clients: 100 in a round, drawn from 100 and from 10,000; the peak of all processes together. Rounds: 300 rounds of 5
clients out of 100, with the resident memory of every process after each round.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.engines import FEDCOMPRESS
from benchmarks.process import ROOT, Watched, watch
from benchmarks.report import Asked, console, print_asked, print_machine, write

SCENARIO = ROOT / "benchmarks" / "scale.toml"
FEW, COHORT = 100, 100
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


def clients(many: int, rounds: int, options: Sequence[str]) -> tuple[list[Asked], dict[str, Any]]:
    """Compares the peak memory with few and with many clients, as many of them in a round."""
    table = Table("clients", title=f"{COHORT} clients in a round, {rounds} rounds", title_justify="left")
    for column in ("wall s", "s a round", "to first s", "peak MiB"):
        table.add_column(column, justify="right")
    peaks, figures = [], {}
    for count in (FEW, many):
        settings = {"data.clients": count, "server.cohort": COHORT / count, "rounds": rounds}
        found = run(settings, options).figures()
        wall, pace, first, peak = (found[key] for key in ("wall", "round", "to_first", "peak"))
        table.add_row(f"{count:,}", f"{wall:.1f}", f"{pace:.2f}", f"{first:.1f}", f"{peak:,.0f}")
        peaks.append(peak)
        figures[str(count)] = found
    console.print(table)
    return [Asked(f"peak memory, {many:,} / {FEW} clients", [peaks[1] / peaks[0]], 1.3)], figures


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


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    engine: Annotated[str, typer.Option(help="inline or ray.")] = "inline",
    workers: Annotated[int, typer.Option(min=1)] = 1,
    many: Annotated[int, typer.Option(min=COHORT, help="The larger number of clients.")] = 10_000,
    client_rounds: Annotated[int, typer.Option(min=0, help="Rounds of the comparison by clients; 0: skip it.")] = 20,
    long_rounds: Annotated[int, typer.Option(min=0, help="Rounds of the long run; 0: skip it.")] = 300,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON.")] = None,
    data_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to look for Fashion-MNIST first.")] = None,
) -> None:
    """Measure how memory grows with clients and with rounds."""
    found = print_machine()
    options = [f"--engine={engine}", f"--workers={workers}"] + ([f"--data-dir={data_dir}"] if data_dir else [])
    asked: list[Asked] = []
    results: dict[str, Any] = {"machine": found, "options": options}
    if client_rounds >= 2:
        answers, results["clients"] = clients(many, client_rounds, options)
        asked += answers
    if long_rounds >= 3:
        answers, results["rounds"] = rounds(long_rounds, options)
        asked += answers
    print_asked(asked)
    write(out, {**results, "asked": [one.row() for one in asked]})


if __name__ == "__main__":
    app()

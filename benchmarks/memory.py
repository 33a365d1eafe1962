"""Memory of a round as the cohort grows: the weights of a few models, and not of all clients.

    python -m benchmarks.memory [--rounds N] [--out FILE] [NAME ...]

Each run is `fedcompress run` of `memory.toml` in a process of its own, with 5 and with 50 clients in the cohort; its
figure is the largest resident memory that the system has seen of the process. NAME picks from `CASES`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.engines import FEDCOMPRESS
from benchmarks.process import ROOT
from benchmarks.report import Asked, console, print_asked, print_machine, write

SCENARIO = ROOT / "benchmarks" / "memory.toml"
CLIENTS, COHORTS = 50, (5, 50)
MOST = {"resnet-18": 1.25}
"""Case -> times that the memory may grow; 1.3 for all others."""
CASES: dict[str, list[str]] = {
    "default": [],
    "threads": ["--workers=2"],
    "masks": [
        "--set=groups.all.compression=magnitude",
        "--set=groups.all.sparsity=0.8",
        "--set=groups.all.compression_params={schedule='constant',begin_round=0,end_round=1,freeze_round=2}",
    ],
    "delta": ["--set=wire.delta=true", "--set=wire.values=int8"],
    "resnet-18": ["--set=groups.all.model=resnet-18:group", "--set=data.examples=250"],
}
"""What is measured, as options of `fedcompress run`. With `masks` each client is sent its own in the second round, and
with `delta` each keeps the model that it got last."""


def peak(options: Sequence[str]) -> float:
    """Runs the scenario in a fresh process and returns its largest resident memory, MiB."""
    with tempfile.TemporaryDirectory() as name:
        command = [FEDCOMPRESS, "run", str(SCENARIO), f"--out={name}/run", *options]
        with (Path(name) / "output").open("w+") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                output.seek(0)
                raise SystemExit(f"{' '.join(command)}\nended with code {process.returncode}:\n{output.read()}")
    return usage.ru_maxrss / 1024


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Cases; all by default.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each run.")] = 2,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON.")] = None,
) -> None:
    """Measure how memory grows with the clients in a round."""
    results: dict[str, Any] = {"machine": print_machine()}
    table = Table("case", *(f"{cohort} clients, MiB" for cohort in COHORTS), "ratio", title="peak resident memory")
    asked = []
    for name in names or CASES:
        settings = [[f"--set=server.cohort={cohort / CLIENTS}", f"--set=rounds={rounds}"] for cohort in COHORTS]
        few, many = (peak([*CASES[name], *options]) for options in settings)
        table.add_row(name, f"{few:,.0f}", f"{many:,.0f}", f"{many / few:.2f}")
        asked.append(
            Asked(
                f"{name}: memory with {COHORTS[1]} / {COHORTS[0]} clients in a round", [many / few], MOST.get(name, 1.3)
            )
        )
        results[name] = {"few": few, "many": many}
    console.print(table)
    print_asked(asked)
    write(out, {**results, "asked": [one.row() for one in asked]})


if __name__ == "__main__":
    app()

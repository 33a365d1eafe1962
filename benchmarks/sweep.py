"""A sweep's runs side by side on Ray, against one after the other with one worker and with two.

    python -m benchmarks.sweep [--runs 4] [--rounds 5] [--examples 2000] [--pairs 1] [--out FILE]

Whole processes, from the command to its end, in turn; each is a sweep of the same small runs with other seeds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import tomli_w

from benchmarks.process import ROOT
from benchmarks.report import console, load, print_machine, write

CONTESTANTS = {
    "inline, 1 worker": ("--engine", "inline", "--workers", "1"),
    "inline, 2 workers": ("--engine", "inline", "--workers", "2"),
    "ray, 2 runs side by side": ("--engine", "ray", "--workers", "2"),
}


def scenario(runs: int, rounds: int, examples: int) -> dict[str, Any]:
    return {
        "name": "sweep-benchmark",
        "rounds": rounds,
        "data": {"dataset": "mnist-5k", "clients": 10, "examples": examples},
        "groups": [{"name": "all", "model": "medium-cnn"}],
        "sweep": {"seeds": list(range(1, runs + 1))},
    }


def timed(options: tuple[str, ...], table: dict[str, Any]) -> dict[str, float]:
    """Runs one sweep and returns its seconds by the clock and of all its processes' computing."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sweep.toml").write_text(tomli_w.dumps(table))
        command = [str(Path(sys.executable).with_name("fedcompress")), "run", "sweep.toml", "--out", "out", *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        before, started, busy = os.times(), time.perf_counter(), load()
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        after = os.times()
        computed = sum(after[2:4]) - sum(before[2:4])
        return {"wall": time.perf_counter() - started, "processor": computed, "load": busy}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__.splitlines()[0])
    for name, default in (("runs", 4), ("rounds", 5), ("examples", 2000), ("pairs", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = print_machine()
    table = scenario(options.runs, options.rounds, options.examples)
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(options.pairs):
        for name, arguments in CONTESTANTS.items():
            figures[name].append(timed(arguments, table))
            last = figures[name][-1]
            console.print(f"{name}: {last['wall']:.1f} s by the clock, load {last['load']:.1f} at its start")
    first = median(run["wall"] for run in figures["inline, 2 workers"])
    for name, runs in figures.items():
        wall = median(run["wall"] for run in runs)
        console.print(f"{name}: median {wall:.1f} s, {wall / first:.2f} times inline with 2 workers")
    write(options.out, {"machine": found, "scenario": table, "figures": figures})


if __name__ == "__main__":
    main()

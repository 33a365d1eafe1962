"""Milliseconds of one local training, dense beside pruned and proximal, and beside the graph of the bare loop.

    python -m benchmarks.training [--pairs 40] [--out FILE]

600 images, batch 64, medium-cnn, Adam, in one process. In each pair every kind trains once, in turn, and is divided by
the dense training of the same pair.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks.bare import Loop
from benchmarks.engines import DEBIAN, SCENARIO
from benchmarks.report import Asked, console, print_asked, print_machine, write
from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.kinds.none import NoCompression
from fedcompress.experiment import Experiment
from fedcompress.scenario import Scenario
from fedcompress.training.objectives import Proximal
from fedcompress.training.sandwich import Sandwich
from fedcompress.training.trainer import Trainer

SPARSITY, HALF, MU = 0.8, 0.5, 0.01
ROUND = 1
"""In which the compression below is at its target and still chooses its masks."""
WARM_UP = 3


def kinds(data_dir: Path) -> dict[str, Callable[[], object]]:
    """Returns name -> one local training of client 0, all from the same weights and with the same shuffling."""
    experiment = Experiment.load(Scenario.load(SCENARIO), data_dir=data_dir)
    spec, settings = experiment.groups["all"].model, experiment.scenario.training
    examples = experiment.data.train(0)
    weights = spec.initial(np.random.default_rng(1))
    proximal = Proximal(MU, tuple(weights[i] for i in spec.trainable))
    half, chosen = (
        masking.choose(weights, spec.prunable, masking.counts(weights, spec.prunable, sparsity, "layer"))
        for sparsity in (HALF, SPARSITY)
    )

    def trainer(compression: Compression) -> Trainer:
        return Trainer(spec, compression, settings, ROUND, lambda purpose: np.random.default_rng(1))

    dense = trainer(NoCompression(NoCompression.Params(), sparsity=0.0, rounds=ROUND))
    always = MagnitudeParams(schedule="constant", begin_round=0, end_round=1, freeze_round=0)
    pruning = trainer(Magnitude(always, sparsity=SPARSITY, rounds=ROUND))
    bare = Loop(data_dir, experiment.scenario.data.clients, seed=1)
    return {
        "dense": lambda: dense.fit(weights, examples),
        "magnitude 0.8, choosing": lambda: pruning.fit(weights, examples),
        "magnitude 0.8, frozen": lambda: pruning.fit(weights, examples, masks=chosen),
        "fedprox": lambda: dense.fit(weights, examples, proximal),
        "nested, 1 sub-network": lambda: dense.fit(weights, examples, Sandwich(1.0, 1.0, 1.0, [chosen])),
        "nested, 2 sub-networks": lambda: dense.fit(weights, examples, Sandwich(1.0, 1.0, 1.0, [half, chosen])),
        "bare loop": lambda: bare.train(weights, 0, ROUND),
    }


def measure(trainings: dict[str, Callable[[], object]], pairs: int) -> dict[str, list[tuple[float, float]]]:
    """Returns name -> (milliseconds, processor milliseconds) of each training; every pair begins with another kind."""
    names = list(trainings)
    for name in names * WARM_UP:
        trainings[name]()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for pair in range(pairs):
        for place in range(len(names)):
            name = names[(place + pair) % len(names)]
            wall, processor = time.perf_counter(), time.process_time()
            trainings[name]()
            times[name].append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor)))
    return times


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    pairs: Annotated[int, typer.Option(min=1, help="Interleaved repetitions.")] = 40,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON.")] = None,
    data_dir: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the four IDX files.")] = DEBIAN,
) -> None:
    """Compare what one local training costs with and without compression."""
    found = print_machine()
    times = measure(kinds(data_dir), pairs)
    ratios = {name: [a / b for (a, _), (b, _) in zip(own, times["dense"], strict=True)] for name, own in times.items()}
    table = Table("one local training", title=f"600 images, medians of {pairs} pairs", title_justify="left")
    for column in ("ms", "CPU ms", "ratio to dense"):
        table.add_column(column, justify="right")
    for name, own in times.items():
        wall, processor = (median(column) for column in zip(*own, strict=True))
        table.add_row(name, f"{wall:.1f}", f"{processor:.1f}", f"{median(ratios[name]):.2f}")
    console.print(table)
    asked = [
        Asked("magnitude 0.8, choosing / dense", ratios["magnitude 0.8, choosing"], 1.2),
        Asked("magnitude 0.8, frozen / dense", ratios["magnitude 0.8, frozen"], 1.2),
        Asked("fedprox / dense", ratios["fedprox"], 1.1),
    ]
    print_asked(asked)
    write(out, {"machine": found, "milliseconds": times, "asked": [one.row() for one in asked]})


if __name__ == "__main__":
    app()

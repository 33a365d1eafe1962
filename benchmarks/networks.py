"""What each network that ships costs: parameters, multiply-adds, and seconds of a local epoch.

    python -m benchmarks.networks [NAME...] [--repetitions 7] [--out FILE]

600 examples of 28x28x1 with 10 classes, batch 64, Adam, in one process on one thread. Networks take turns, so that what
else the machine does meets all of them; medians of the repetitions, after a warm-up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.report import console, print_machine, write
from fedcompress.compression.kinds.none import NoCompression
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.cost import multiply_adds
from fedcompress.plugins import Plugins
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.trainer import Trainer

NAMES = ("mini-cnn", "small-cnn", "medium-cnn", "big-cnn", "two-layer-cnn", "lenet5", "mlp:100-50-20:0.1")
SHAPE, CLASSES, EXAMPLES = (28, 28, 1), 10, 600


class Network:
    """One network, ready to be trained for an epoch, always from the same weights and in the same order."""

    def __init__(self, name: str, examples: Examples) -> None:
        self.spec = ModelSpec(name, Plugins().architecture(name), SHAPE, CLASSES)
        self._examples = examples
        self._weights = self.spec.initial(np.random.default_rng(1))
        settings = TrainingSettings(epochs=1, batch_size=64, optimizer="adam", learning_rate=0.001)
        dense = NoCompression(NoCompression.Params(), sparsity=0.0, rounds=1)
        self._trainer = Trainer(self.spec, dense, settings, 1, lambda purpose: np.random.default_rng(1))
        self.wall: list[float] = []
        self.processor: list[float] = []

    def train(self) -> None:
        """Trains for an epoch and notes its seconds, by the clock and of the processor."""
        wall, processor = time.perf_counter(), time.process_time()
        self._trainer.fit(self._weights, self._examples)
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)

    def row(self) -> dict[str, Any]:
        """Returns its figures, without the first epoch, in which its graph was traced."""
        return {
            "name": self.spec.name,
            "parameters": self.spec.parameters,
            "multiply_adds": multiply_adds(self.spec.build()),
            "seconds": self.wall[1:],
            "processor_seconds": self.processor[1:],
        }


def measure(names: Sequence[str], repetitions: int) -> list[dict[str, Any]]:
    """Returns a row for each network."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (EXAMPLES, *SHAPE), np.uint8)
    examples = Examples(images, rng.integers(0, CLASSES, EXAMPLES).astype(np.int32))
    networks = [Network(name, examples) for name in names]
    for _ in range(repetitions + 1):
        for network in networks:
            network.train()
    return [network.row() for network in networks]


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; default: the small ones.")
    ] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Epochs of each network, after one that is not timed.")] = 7,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON.")] = None,
) -> None:
    """Measure networks."""
    os.environ["FEDCOMPRESS_INTER_OP"] = "1"
    found = print_machine()
    rows = measure(names or NAMES, repetitions)
    table = Table("network", title=f"An epoch of {EXAMPLES} examples, batch 64, Adam", title_justify="left")
    for column in ("parameters", "multiply-adds", "ms", "CPU ms"):
        table.add_column(column, justify="right")
    for row in rows:
        times = [f"{1000 * median(row[key]):.1f}" for key in ("seconds", "processor_seconds")]
        table.add_row(row["name"], f"{row['parameters']:,}", f"{row['multiply_adds']:,}", *times)
    console.print(table)
    write(out, {"machine": found, "networks": rows})


if __name__ == "__main__":
    app()

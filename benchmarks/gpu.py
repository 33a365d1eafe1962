"""What a GPU gives: a client's training of residual networks, in float32 and in mixed precision.

    python -m benchmarks.gpu [NAME...] [--cpu] [--steps 20] [--repetitions 5] [--out FILE]

Images of 32x32x3, batch 64, momentum, by the same compiled graph as in a run; the first GPU, and with --cpu one core
beside it. Without a GPU it says so and ends with exit code 2, unless there is --cpu. Settings take turns; medians
after a warm-up, in which graphs are built.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.table import Table

from benchmarks.report import console, print_machine, write
from fedcompress import keras
from fedcompress.compression.kinds.none import NoCompression
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.precision import half
from fedcompress.training.trainer import Trainer

NAMES = ("resnet-8", "resnet-8:batch", "resnet-18", "resnet-18:batch")
SHAPE, CLASSES, BATCH = (32, 32, 3), 10, 64
PRECISIONS: tuple[Literal["float32", "mixed"], ...] = ("float32", "mixed")


class Place:
    """A GPU or the processor, in a thread of its own: compiled graphs, and with them variables, are a thread's.

    Args:
        name: "GPU:0" or "CPU:0".
        names: Of models.
        steps: In a training.
    """

    def __init__(self, name: str, names: Sequence[str], steps: int) -> None:
        self.name = name
        self._thread = ThreadPoolExecutor(1)
        rng = np.random.default_rng(0)
        count = BATCH * steps
        self._examples = Examples(
            rng.integers(0, 256, (count, *SHAPE), np.uint8), rng.integers(0, CLASSES, count).astype(np.int32)
        )
        self._specs = [ModelSpec(model, Plugins().architecture(model), SHAPE, CLASSES) for model in names]
        self.seconds: dict[tuple[str, str], list[tuple[float, float]]] = {}
        self.mebibytes: dict[tuple[str, str], float] = {}

    def measure(self) -> None:
        """Trains each model in each precision once, and notes what it takes."""
        for spec in self._specs:
            for precision in PRECISIONS:
                key = spec.name, precision
                self.seconds.setdefault(key, []).append(self._thread.submit(self._train, spec, precision).result())
                if self.name.startswith("GPU"):
                    self.mebibytes[key] = keras.tf.config.experimental.get_memory_info(self.name)["peak"] / 2**20

    def _train(self, spec: ModelSpec, precision: Literal["float32", "mixed"]) -> tuple[float, float]:
        """Returns the seconds of a training, by the clock and of the processor."""
        settings = TrainingSettings(batch_size=BATCH, optimizer="momentum", learning_rate=0.01, precision=precision)
        dense = NoCompression(NoCompression.Params(), sparsity=0.0, rounds=1)
        trainer = Trainer(spec, dense, settings, 1, lambda _: np.random.default_rng(1))
        weights = spec.initial(np.random.default_rng(1))
        with keras.tf.device(f"/{self.name}"):
            if self.name.startswith("GPU"):
                keras.tf.config.experimental.reset_memory_stats(self.name)
            started, worked = time.perf_counter(), time.process_time()
            trainer.fit(weights, self._examples)
            return time.perf_counter() - started, time.process_time() - worked

    def rows(self, steps: int) -> list[dict[str, Any]]:
        """Returns a row for each model and precision."""
        return [
            {
                "place": self.name,
                "model": model,
                "precision": precision,
                "first_seconds": first[0],
                "step_seconds": (seconds := median(clock for clock, _ in rest)) / steps,
                "step_processor_seconds": median(processor for _, processor in rest) / steps,
                "images_per_second": BATCH * steps / seconds,
                "peak_mebibytes": self.mebibytes.get((model, precision)),
            }
            for (model, precision), (first, *rest) in self.seconds.items()
        ]


def table_of(rows: Sequence[dict[str, Any]]) -> Table:
    """Returns the table of all rows; a GPU's memory is that of one model's training at its most."""
    table = Table("device", "model", "precision", title=f"Training, batch {BATCH}", title_justify="left")
    for column in ("first, s", "ms a step", "CPU ms a step", "images/s", "peak MiB"):
        table.add_column(column, justify="right")
    for row in rows:
        memory = row["peak_mebibytes"]
        precision = row["precision"] if row["precision"] == "float32" else f"mixed ({half()})"
        table.add_row(
            row["place"],
            row["model"],
            precision,
            f"{row['first_seconds']:.1f}",
            f"{1000 * row['step_seconds']:.1f}",
            f"{1000 * row['step_processor_seconds']:.1f}",
            f"{row['images_per_second']:,.0f}",
            "-" if memory is None else f"{memory:,.0f}",
        )
    return table


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; default: ResNets.")] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Measure one core, too.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps in a training.")] = 20,
    repetitions: Annotated[int, typer.Option(min=1, help="Trainings of each, after one that is not timed.")] = 5,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON.")] = None,
) -> None:
    """Measure a GPU."""
    gpus = keras.tf.config.list_physical_devices("GPU")
    if not gpus and not cpu:
        typer.echo("TensorFlow finds no GPU; `fedcompress doctor` says why, --cpu measures the processor.", err=True)
        raise typer.Exit(2)
    found = print_machine()
    for gpu in gpus[:1]:
        console.print(f"GPU:0 is {keras.tf.config.experimental.get_device_details(gpu).get('device_name', gpu.name)}")
    places = [Place(name, names or NAMES, steps) for name, there in (("GPU:0", gpus), ("CPU:0", cpu)) if there]
    for _ in range(repetitions + 1):
        for place in places:
            place.measure()
    rows = [row for place in places for row in place.rows(steps)]
    console.print(table_of(rows))
    write(out, {"machine": found, "rows": rows})


if __name__ == "__main__":
    app()

"""Residual networks without half of their channels: what is exported, before and after.

    python -m benchmarks.residual [NAME...] [--repetitions 5] [--page]

Channels are pruned by their mean absolute weight, through the additions that tie them, while a model trains a little on
digits (28x28x1 by repeating pixels). The smaller dense model that is cut out is compared with the masked one on test
images, and both as TFLite files: medians over repetitions, taken in turn, of the time for one image on one thread. With
--page, docs/results/residual.md is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.report import console, machine, print_machine
from fedcompress.compression import tflite
from fedcompress.compression.kinds.channel import Channel, ChannelParams
from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.cost import multiply_adds
from fedcompress.page.blocks import TextTable
from fedcompress.plugins import Plugins
from fedcompress.results.compare.formats import markdown
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.trainer import Trainer, predict
from fedcompress.wire.content import Arrays

PAGE = Path("docs/results/residual.md")
NAMES = ("resnet-8:group", "resnet-8:batch")
SPARSITY, SHAPE, CLASSES = 0.5, (28, 28, 1), 10
COLUMNS = (
    *("model", "what", "parameters", "multiply-adds", "TFLite, kB", "latency, us"),
    *("largest output", "largest difference"),
)


def enlarged(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns digits (n, 8, 8, 1) as (n, 28, 28, 1): each pixel three times three, and a black border."""
    return np.pad(images.repeat(3, axis=1).repeat(3, axis=2), [(0, 0), (2, 2), (2, 2), (0, 0)])


def trained(spec: ModelSpec, compression: Channel) -> Arrays:
    """Returns the masked weights of a model that has trained for an epoch on 640 digits."""
    data = load_dataset("digits")
    examples = Examples(enlarged(data.x_train[:640]), data.y_train[:640])
    start, rng = spec.initial(np.random.default_rng(1)), np.random.default_rng(2)
    masks = compression.choose(start, spec, 1, rng)
    settings = TrainingSettings(batch_size=32)
    return (
        Trainer(spec, compression, settings, 1, lambda _: np.random.default_rng(3))
        .fit(start, examples, masks=masks)
        .weights
    )


def measure(name: str, repetitions: int) -> list[dict[str, Any]]:
    """Returns a row of the masked model, and one of the model that was cut out of it."""
    spec = ModelSpec(name, Plugins().architecture(name), SHAPE, CLASSES)
    params = ChannelParams(schedule="constant", begin_round=0, count="channels")
    compression = Channel(params, sparsity=SPARSITY, rounds=1)
    compression.check(spec)
    weights = trained(spec, compression)
    images = enlarged(load_dataset("digits").x_test)
    pairs = {"masked": (spec, weights), "cut out": compression.deployed(spec, weights)}
    outputs = {what: predict(model, values, images) for what, (model, values) in pairs.items()}
    rows, files = [], {}
    for what, (model, values) in pairs.items():
        built = model.build()
        built.set_weights(values)
        files[what] = tflite.convert(built)
        rows.append(
            {
                "model": name,
                "what": what,
                "parameters": model.parameters,
                "multiply_adds": multiply_adds(built),
                "tflite_bytes": len(files[what]),
                "largest_output": float(np.abs(outputs[what]).max()),
                "difference": float(np.abs(outputs[what] - outputs["masked"]).max()),
            }
        )
    latencies: dict[str, list[float]] = {what: [] for what in pairs}
    for _ in range(repetitions):
        for what, file in files.items():
            latencies[what].append(tflite.latency(file, images))
    return [{**row, "latency_us": median(latencies[row["what"]])} for row in rows]


def table_of(rows: Sequence[Mapping[str, Any]]) -> TextTable:
    """Returns the table of all rows."""
    cells = tuple(
        (
            row["model"],
            row["what"],
            f"{row['parameters']:,}",
            f"{row['multiply_adds']:,}",
            f"{row['tflite_bytes'] / 1000:.0f}",
            f"{row['latency_us']:,.0f}",
            f"{row['largest_output']:.1f}",
            "-" if row["what"] == "masked" else f"{row['difference']:.1e}",
        )
        for row in rows
    )
    caption = (
        f"{SPARSITY:.0%} of the channels pruned, through the additions; images of 28x28x1, 10 classes. Differences and "
        "outputs: logits on 359 test images."
    )
    return TextTable("Residual networks without half of their channels", COLUMNS, cells, caption)


def page(rows: Sequence[Mapping[str, Any]], command: str, found: Mapping[str, Any]) -> str:
    """Returns docs/results/residual.md."""
    versions = ", ".join(f"{name} {number}" for name, number in sorted(found["versions"].items()) if number)
    parts = [
        "# residual",
        f"```\n{command}\n```",
        f"- {found['cores']} cores ({found['processor']}); load at the start: {found['load_at_start']:.1f}",
        f"- {versions}",
        markdown(table_of(rows)).strip(),
    ]
    return "\n\n".join(parts) + "\n"


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models.")] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Measurements of latency.")] = 5,
    write_page: Annotated[bool, typer.Option("--page", help=f"Write {PAGE}.")] = False,
) -> None:
    """Measure residual networks without half of their channels."""
    print_machine()
    found = machine()
    rows = [row for name in names or NAMES for row in measure(name, repetitions)]
    table = table_of(rows)
    shown = Table(*table.columns, title=table.title)
    for cells in table.rows:
        shown.add_row(*cells)
    console.print(shown)
    if write_page:
        options = [] if repetitions == 5 else ["--repetitions", str(repetitions)]
        PAGE.write_text(
            page(rows, " ".join(["python -m benchmarks.residual", *(names or []), *options, "--page"]), found)
        )
        console.print(str(PAGE))


if __name__ == "__main__":
    app()

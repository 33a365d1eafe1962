"""A chain as one page that opens offline: figures, privacy, a grid of samples for each step, losses."""

from __future__ import annotations

import csv
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedcompress.page.blocks import Block, Finding, Findings, Panel, Picture, Section, Text, TextTable
from fedcompress.page.figures import axes, line, numbers, plotted
from fedcompress.page.shell import html as page
from fedcompress.recipes.generate.folder import LOSSES, Row
from fedcompress.recipes.generate.measuring import GRID
from fedcompress.recipes.generate.privacy import ledger, privacy_lines
from fedcompress.recipes.generate.recipe import GeneratorRecipe
from fedcompress.recipes.generate.table import figure_rows

ABOUT = (
    "score: accuracy, on real images, of a classifier that was trained on samples. float32: all weights at 4 bytes. "
    "packed: kernels at the student's bits. Latencies: one image on one thread of the machine that ran this. "
    "compress and private are measured as files for devices compute: with rounded kernels, activations not rounded."
)


def html(recipe: GeneratorRecipe, rows: Sequence[Row], path: Path) -> str:
    """Returns the page.

    Args:
        recipe: What was done.
        rows: Figures of the steps that are done.
        path: Of the run.
    """
    columns, cells = figure_rows(rows)
    privacy: list[Block] = [Findings([Finding(text) for text in privacy_lines(recipe, rows)])]
    if paid := ledger(recipe, rows):
        columns_of_ledger = ("step", "released", "noise", "sampling", "steps", "epsilon of all so far")
        privacy.append(TextTable("Every release of the data", columns_of_ledger, tuple(paid)))
    sections = [
        Section("figures", "Figures", [TextTable("Generators", tuple(columns), tuple(cells), ABOUT)]),
        Section("privacy", "Privacy", privacy),
        Section("samples", "Samples", list(_pictures(rows, path)), "The same noise and labels for each step."),
        Section("losses", "Losses", list(_losses(rows, path))),
        Section("recipe", "Recipe", [Text(recipe.toml(), from_file=True)]),
    ]
    return page("fedcompress generate", recipe.name, sections)


def _pictures(rows: Sequence[Row], path: Path) -> Iterator[Picture]:
    for row in rows:
        file = path / row["step"] / GRID
        if file.exists():
            figures = tuple(
                (key.replace("_", " "), f"{value:.4g}")
                for key in ("accuracy_score", "kernel_distance")
                if (value := row.get(key)) is not None
            )
            yield Picture(row["step"], b64encode(file.read_bytes()).decode(), TextTable("", (), figures))


def _losses(rows: Sequence[Row], path: Path) -> Iterator[Panel]:
    for row in rows:
        file = path / row["step"] / LOSSES
        if not file.exists():
            continue
        with file.open(encoding="utf-8") as text:
            epochs = list(csv.DictReader(text))
        data = [
            line(name.replace("_", " "), n, [int(e["epoch"]) for e in epochs], [float(e[name]) for e in epochs])
            for n, name in enumerate(("generator_loss", "discriminator_loss"))
        ]
        figure = plotted(data, axes("epoch", "mean loss"))
        title = f"Losses: {row['step']}"
        yield Panel(
            title, "Means over the steps of an epoch.", figure, numbers(title, ("network", "epoch", "loss"), figure)
        )

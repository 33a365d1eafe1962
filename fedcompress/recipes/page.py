"""The results of a recipe as one page that opens offline: the table, learning curves, layers, confusion matrices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fedcompress.page.blocks import Panel, Section, Text, TextTable
from fedcompress.page.figures import Json, axes, colour, line, numbers, plotted
from fedcompress.page.shell import html as page
from fedcompress.recipes.bench import TEACHER
from fedcompress.recipes.pictures import ladders
from fedcompress.recipes.table import DETAILS, Row, label, measured
from fedcompress.units import shortened

FIRST = (
    *("experiment", "step", "seed", "bits", "sparsity", "train", "validation", "test"),
    *("deflated_bytes", "parameters", "latency_us", "int8_bytes", "int8_test"),
)
"""Columns that are seen without scrolling."""

DIGITS = {"latency_us": 1, "int8_latency_us": 1, "seconds": 1, "shared_seconds": 1}
"""Of columns that are no fractions."""

ABOUT = (
    "sparsity: zeros among the weights of all kernels. parameters: of the network's shape, which no mask changes; "
    "nonzero: those that are left. deflated_bytes: the .h5 file after deflate. int8 columns: a conversion by TFLite, "
    "of the first seed. Latencies: one example on one thread of the machine that ran this. seconds: of an experiment's "
    "own training since its last model; shared_seconds: of the uncompressed model or the teacher that it goes on from, "
    "which is trained once for all experiments."
)


def html(title: str, recipe: str, rows: Sequence[Row]) -> str:
    """Returns the page.

    Args:
        title: Of the recipe.
        recipe: The recipe itself, as TOML.
        rows: All rows, of every seed, and of experiments that failed; pictures show the first seed that did not fail.
    """
    done = measured(rows)
    first = [row for row in done if row["seed"] == done[0]["seed"]]
    panels = [*_curves(first), *ladders(first), *_layers(first), _confusion(first)] if first else []
    sections = [
        Section("results", "Results", [_table(rows)]),
        Section("pictures", f"Pictures, seed {first[0]['seed']}" if first else "Pictures", panels),
        Section("recipe", "Recipe", [Text(recipe, from_file=True)]),
    ]
    return page("fedcompress compress", title, sections)


def _table(rows: Sequence[Row]) -> TextTable:
    present = [key for key in dict.fromkeys((*FIRST, *(key for row in rows for key in row))) if key not in DETAILS]
    columns = tuple(key for key in present if any(row.get(key) not in (None, "") for row in rows))
    cells = tuple(tuple(_cell(column, row.get(column)) for column in columns) for row in rows)
    return TextTable("Every model", columns, cells, ABOUT)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{DIGITS.get(column, 4)}f}"
    return f"{value:,}" if isinstance(value, int) and column != "seed" else str(value)


def _curves(rows: Sequence[Row]) -> Iterable[Panel]:
    """Yields a line per model, of those that were validated while they learned."""
    data = [
        line(
            label(row),
            index,
            range(1, len(points) + 1),
            [point["validation"] for point in points],
            marked=True,
            text=[f"{p['phase']} {p['epoch']}, loss {p['loss']:.4f}, sparsity {p['sparsity']:.3f}" for p in points],
        )
        for index, row in enumerate(rows)
        if (points := [p for p in row["curve"] if p["validation"] is not None and p["phase"] != TEACHER])
    ]
    if not data:
        return
    figure = plotted(data, axes("epoch", "validation accuracy"))
    table = numbers("Validation accuracy after each epoch", ("experiment", "epoch", "accuracy", "phase"), figure)
    note = "A line per model, over all of its phases; not of a teacher, which is another model."
    yield Panel("Validation accuracy over epochs", note, figure, table, 460)


def _layers(rows: Sequence[Row]) -> Iterable[Panel]:
    data: list[Json] = [
        {"type": "bar", "name": label(row), "x": list(layers), "y": list(layers.values()), "marker": {"color": hue}}
        for index, row in enumerate(rows)
        if row["sparsity"] and (layers := row["layer_sparsity"]) and (hue := colour(index))
    ]
    if data:
        figure = plotted(data, axes("layer", "fraction of zeros", barmode="group"))
        figure["layout"]["yaxis"]["range"] = [0, 1]
        table = numbers("Zeros of each layer", ("experiment", "layer", "fraction of zeros"), figure)
        yield Panel("Sparsity by layer", "Zeros among the weights of each kernel.", figure, table, 460)


def _confusion(rows: Sequence[Row]) -> Panel:
    """The counts of one model at a time, which a menu chooses."""
    classes = [str(number) for number in range(len(rows[0]["confusion"]))]
    heat = {"type": "heatmap", "x": classes, "y": classes, "texttemplate": "%{z}", "showscale": False}
    heat["colorscale"] = [[0, "@heat-low"], [1, "@heat-high"]]
    data = [{**heat, "z": row["confusion"], "visible": index == 0} for index, row in enumerate(rows)]
    buttons = [
        {
            "label": shortened(label(row), 40),
            "method": "update",
            "args": [{"visible": [other == index for other in range(len(rows))]}],
        }
        for index, row in enumerate(rows)
    ]
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "bgcolor": "@card"}
    layout = axes("predicted class", "class", share=False, updatemenus=[menu])
    layout["xaxis"] |= {"type": "category"}
    layout["yaxis"] |= {"type": "category", "autorange": "reversed"}
    cells = tuple(
        (label(row), name, *map(str, counts))
        for row in rows
        for name, counts in zip(classes, row["confusion"], strict=True)
    )
    table = TextTable("Test examples of each class, by predicted class", ("experiment", "class", *classes), cells)
    note = "Test examples of each class and what they were taken for; the menu chooses a model."
    return Panel("Confusion on the test set", note, plotted(data, layout), table, 500)

"""Pictures of methods that hand over many models: along a ladder of sparsities, layer by layer, trial by trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import nan

from fedcompress.page.blocks import Panel
from fedcompress.page.figures import Json, axes, line, numbers, plotted
from fedcompress.recipes.table import Row

LADDER = 3
"""Different sparsities that one line needs at least."""


def ladders(rows: Sequence[Row]) -> Iterator[Panel]:
    """Yields the plots for which there is something to show, given rows of one seed."""
    lines = {name: steps for name, steps in _lines(rows).items() if len({_removed(row) for row in steps}) >= LADDER}
    if lines:
        yield _accuracies(lines)
    for name, steps in lines.items():
        if any(row["layer_sparsity"] for row in steps):
            yield _layers(name, steps)
    if any("trial" in row for row in rows):
        yield _trials(rows)


def _lines(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Returns the rows of each experiment, or of each series in it, by sparsity; trials are no lines."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if "trial" not in row and row.get("series") != "":
            lines.setdefault(" ".join(filter(None, (row["experiment"], row.get("series")))), []).append(row)
    return {name: sorted(steps, key=_removed) for name, steps in lines.items()}


def _removed(row: Row) -> float:
    """What is removed, as its own method counts it."""
    return float(row["channels_removed"] if "channels_removed" in row else row["sparsity"])


def _ladder(index: int, name: str, rows: Sequence[Row], values: Sequence[float]) -> Json:
    return line(
        name, index, [_removed(row) for row in rows], values, marked=True, text=[str(row["step"]) for row in rows]
    )


def _accuracies(lines: Mapping[str, Sequence[Row]]) -> Panel:
    data = [_ladder(n, name, rows, [row["test"] for row in rows]) for n, (name, rows) in enumerate(lines.items())]
    title, figure = "Test accuracy over what is removed", plotted(data, axes("fraction removed", "test accuracy"))
    table = numbers(title, ("experiment", "fraction removed", "test accuracy", "step"), figure)
    return Panel(title, "A line per experiment, a point per model.", figure, table, 460)


def _layers(name: str, rows: Sequence[Row]) -> Panel:
    layers = {layer: [row["layer_sparsity"].get(layer, nan) for row in rows] for layer in rows[0]["layer_sparsity"]}
    data = [_ladder(index, layer, rows, values) for index, (layer, values) in enumerate(layers.items())]
    figure = plotted(data, axes("fraction removed of the whole model", "fraction removed of the layer"))
    figure["layout"]["yaxis"]["range"] = [-0.02, 1.02]
    title = f"Layer by layer: {name}"
    table = numbers(title, ("layer", "of the whole model", "of the layer", "step"), figure)
    return Panel(title, "How much of each layer is removed as more of the model is.", figure, table, 460)


def _trials(rows: Sequence[Row]) -> Panel:
    tried: dict[str, list[Row]] = {}
    for row in rows:
        if "trial" in row:
            tried.setdefault(f"{row['experiment']}, {_removed(row):.2f}", []).append(row)
    data: list[Json] = [
        {
            "type": "box",
            "name": name,
            "x": [name] * len(trials),
            "y": [row["test"] for row in trials],
            "text": [f"trial {row['trial']}, emptied: {row['emptied'] or 'none'}" for row in trials],
            "boxpoints": "all",
            "pointpos": 0,
            "jitter": 0.6,
            "fillcolor": "rgba(0,0,0,0)",
            "line": {"color": "rgba(0,0,0,0)"},  # the points are the picture: a box would hide that there are two kinds
            "marker": {"color": "@0"},
        }
        for name, trials in tried.items()
    ]
    title, figure = "Test accuracy of each trial", plotted(data, axes("", "test accuracy"))
    figure["layout"]["showlegend"] = False
    table = numbers(title, ("experiment", "fraction removed", "test accuracy", "trial"), figure)
    return Panel(title, "A point per trial.", figure, table, 460)

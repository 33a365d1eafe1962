"""Pictures of methods that hand over many models: along a ladder of sparsities, layer by layer, trial by trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedcompress.recipes.table import Row

LADDER = 3
"""Different sparsities that one line needs at least."""


def ladders(rows: Sequence[Row]) -> Iterator[Any]:
    """Yields the plotly figures for which there is something to show, given rows of one seed."""
    lines = {name: line for name, line in _lines(rows).items() if len({_part(row) for row in line}) >= LADDER}
    if lines:
        yield _accuracies(lines)
    for name, line in lines.items():
        if any(row["layer_sparsity"] for row in line):
            yield _layers(name, line)
    if any("trial" in row for row in rows):
        yield _trials(rows)


def _lines(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Returns the rows of each experiment, or of each series in it, by sparsity; trials are no lines."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if "trial" not in row and row.get("series") != "":
            found.setdefault(" ".join(filter(None, (row["experiment"], row.get("series")))), []).append(row)
    return {name: sorted(line, key=_part) for name, line in found.items()}


def _part(row: Row) -> float:
    """What is removed, as its own method counts it."""
    return float(row["channels_removed"] if "channels_removed" in row else row["sparsity"])


def blank(title: str, **layout: Any) -> Any:
    """Returns an empty figure."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(title=title, template="plotly_white", height=460, **layout)
    return figure


def _accuracies(lines: Mapping[str, Sequence[Row]]) -> Any:
    figure = blank("Test accuracy over what is removed", xaxis_title="fraction removed", yaxis_title="test accuracy")
    for name, line in lines.items():
        figure.add_scatter(
            x=[_part(row) for row in line],
            y=[row["test"] for row in line],
            text=[row["step"] for row in line],
            mode="lines+markers",
            name=name,
        )
    return figure


def _layers(name: str, line: Sequence[Row]) -> Any:
    figure = blank(
        f"Layer by layer: {name}",
        xaxis_title="fraction removed of the whole model",
        yaxis_title="fraction removed of the layer",
        yaxis_range=[-0.02, 1.02],
    )
    for layer in line[0]["layer_sparsity"]:
        figure.add_scatter(
            x=[_part(row) for row in line],
            y=[row["layer_sparsity"].get(layer) for row in line],
            text=[row["step"] for row in line],
            mode="lines+markers",
            name=layer,
        )
    return figure


def _trials(rows: Sequence[Row]) -> Any:
    figure = blank("Test accuracy of each trial", yaxis_title="test accuracy", showlegend=False)
    tried: dict[str, list[Row]] = {}
    for row in rows:
        if "trial" in row:
            tried.setdefault(f"{row['experiment']}, {_part(row):.2f}", []).append(row)
    for name, trials in tried.items():
        figure.add_box(
            y=[row["test"] for row in trials],
            text=[f"trial {row['trial']}, emptied: {row['emptied'] or 'none'}" for row in trials],
            boxpoints="all",
            pointpos=0,
            jitter=0.6,
            fillcolor="rgba(0,0,0,0)",
            line_color="rgba(0,0,0,0)",  # the points are the picture: a box would hide that there are two kinds
            marker_color="#0072b2",
            name=name,
        )
    return figure

"""How pages draw: figures as plotly's JSON has them, in colours of the page.

Colours are names that the page looks up in its style sheet, so that dark mode and print have their own: "@0" to "@6"
for series, "@0/0.2" with an opacity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from fedcompress.page.blocks import TextTable

Json = dict[str, Any]

COLOURS = 7
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
PATTERNS = ("", "/", "x", "-", "|", "+", ".")
FEW = 30
"""Up to so many points of a line, each is marked."""
WHOLE = ("round", "epoch", "step")
"""Titles of axes of whole numbers."""


def colour(index: int, opacity: float | None = None) -> str:
    """Returns the name of a series' colour."""
    return f"@{index % COLOURS}" + ("" if opacity is None else f"/{opacity}")


def rounded(values: Iterable[float]) -> list[float | None]:
    """Returns numbers with the digits that can be seen; null for what is not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in map(float, values)]


def line(
    name: str, index: int, x: Iterable[float], y: Iterable[float], *, marked: bool | None = None, **more: Any
) -> Json:
    """Returns a series of its own colour, dashes and marks; by default, points are marked unless they are many."""
    places = rounded(x)
    return {
        "type": "scatter",
        "name": name,
        "legendgroup": name,
        "x": places,
        "y": rounded(y),
        "mode": "lines+markers" if (len(places) <= FEW if marked is None else marked) else "lines",
        "line": {"color": colour(index), "dash": DASHES[index % len(DASHES)], "width": 2},
        "marker": {"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 7, "color": colour(index)},
        **more,
    }


def filled(index: int) -> Json:
    """Returns the marker of bars: of a colour, and of a pattern that differs for the next bars of that colour."""
    shape = PATTERNS[(index + index // COLOURS) % len(PATTERNS)]
    pattern = {"shape": shape, "fillmode": "overlay", "fgcolor": "@card", "size": 7, "solidity": 0.2}
    return {"color": colour(index), "pattern": pattern}


def stacked(labels: Sequence[str], parts: Mapping[str, Iterable[float]], unit: str) -> Json:
    """Returns lying bars, one for each label, of parts that differ in colour and pattern."""
    data: list[Json] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": list(labels),
            "x": rounded(values),
            "marker": filled(index),
        }
        for index, (name, values) in enumerate(parts.items())
    ]
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": unit}},
        "yaxis": {"autorange": "reversed"},
        "bargap": 0.35,
    }
    return plotted(data, layout)


def band(name: str, index: int, places: Iterable[float], low: Iterable[float], high: Iterable[float]) -> list[Json]:
    """Returns the area between two lines, behind the line of the same name."""
    x = rounded(places)
    same = {"type": "scatter", "legendgroup": name, "showlegend": False, "hoverinfo": "skip", "mode": "lines", "x": x}
    edge = {"width": 0, "color": colour(index)}
    return [
        {**same, "y": rounded(low), "line": edge},
        {**same, "y": rounded(high), "line": edge, "fill": "tonexty", "fillcolor": colour(index, 0.16)},
    ]


def axes(x: str, y: str, *, share: bool = True, **more: Any) -> Json:
    """Returns the layout of two axes with their titles; `share`: what is upwards is a fraction."""
    y_axis: Json = {"title": {"text": y}} | ({"tickformat": ".4~f"} if share else {})
    return {"xaxis": {"title": {"text": x}}, "yaxis": y_axis} | more


def plotted(data: list[Json], layout: Json) -> Json:
    """Returns a plot: a legend if there is more than one name, and no fractions on an axis of few whole numbers."""
    named = {trace.get("name") for trace in data if trace.get("showlegend", True)}
    x_axis = layout.get("xaxis", {})
    places = [x for trace in data for x in trace.get("x", ()) if x is not None]
    if x_axis.get("title", {}).get("text") in WHOLE and max(places, default=0) <= 8:
        layout = {**layout, "xaxis": {**x_axis, "dtick": 1}}
    return {"data": data, "layout": {**layout, "showlegend": len(named) > 1}}


def literal(value: Any, key: str = "") -> Any:
    """Returns a figure in which `<b>` in a name is that name: plotly takes text for HTML."""
    if isinstance(value, str):
        return value if key == "hovertemplate" else escape(value, quote=False)
    if isinstance(value, Mapping):
        return {name: literal(item, name) for name, item in value.items()}
    return [literal(item, key) for item in value] if isinstance(value, list) else value


def numbers(title: str, columns: tuple[str, ...], figure: Json) -> TextTable:
    """Returns the numbers of a figure of series: the name, x, y and the text of each point."""
    rows = [
        (str(series["name"]), *(f"{value:.6g}" if isinstance(value, int | float) else value or "-" for value in point))
        for series in figure["data"]
        for point in zip(*(series[key] for key in ("x", "y", "text") if key in series), strict=True)
    ]
    return TextTable(title, columns, tuple(rows))

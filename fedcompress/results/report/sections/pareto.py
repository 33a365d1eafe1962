"""Deployed accuracy against what it costs: bytes on the network, and the size of models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean

from fedcompress.page.blocks import Block, Panel, TextTable
from fedcompress.page.figures import SYMBOLS, Json, axes, colour, plotted, rounded
from fedcompress.results.compare.statistics import SHARE, Interval
from fedcompress.results.report.shown import Shown, label
from fedcompress.units import number, size

TITLE, PLACE = "Accuracy, bytes and size", 30
BARS = "Bars are 95 % intervals over seeds, which end at 0 and 1."


@dataclass(frozen=True)
class Point:
    """What is drawn of a variant, or of a group of it.

    Attributes:
        cost: In bytes.
        accuracy: Mean over seeds.
        colour: Its number.
        symbol: Its number.
        interval: How far the interval of the accuracy reaches down and up, if it is known.
        cells: Of the table, behind the accuracy.
    """

    cost: float
    accuracy: float
    colour: int
    symbol: int
    interval: tuple[float, float] | None = None
    cells: tuple[str, ...] = ()


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields the plots that have at least two points."""
    judged = shown.comparison.headline.title
    named = judged.capitalize()
    if len(points := _of_variants(shown)) > 1:
        table = _table(f"{named}, bytes and size", ("variant", "bytes", judged, "model"), points)
        note = f"The line joins variants that no other beats in both. {BARS}"
        yield Panel(f"{named} against bytes", note, _plot(points, "megabytes, up and down", 1e6, judged), table)
    if len(points := _of_groups(shown)) > 1:
        table = _table("Deployed accuracy and size of models", ("group", "deflated model", "deployed accuracy"), points)
        note = f"What devices of each group run, and the deflated bytes of that model, means over seeds. {BARS}"
        figure = _plot(points, "kilobytes, deflated model", 1e3, "deployed accuracy")
        yield Panel("Deployed accuracy against model size", note, figure, table)


def _of_variants(shown: Shown) -> dict[str, Point]:
    """What each variant is judged by, and all its bytes."""
    points: dict[str, Point] = {}
    for row in shown.comparison.rows if shown.scored else ():
        accuracy, cost = row.cells[shown.comparison.headline.name].interval, row.cells["bytes"].interval
        if accuracy and cost:
            model = (size(row.cells["model_bytes"].part("mean")),)
            place = len(points)
            points[row.variant] = Point(cost.mean, accuracy.mean, place, place, _reach(accuracy), model)
    return points


def _reach(interval: Interval) -> tuple[float, float] | None:
    """Returns how far an interval reaches down and up from its mean; None of a single seed."""
    low, high = interval.low, interval.high
    return None if low is None or high is None else (interval.mean - low, high - interval.mean)


def _of_groups(shown: Shown) -> dict[str, Point]:
    """Accuracy of what the clients of each group deploy, and the size of that model, where both were measured."""
    points: dict[str, Point] = {}
    for place, (variant, runs) in enumerate(shown.scored.items()):
        for symbol, name in enumerate(runs[0].summary["groups"]):
            groups = [run.summary["groups"][name] for run in runs if name in run.summary["groups"]]
            figures = [(group.get("compressed_bytes"), group.get("deployed_accuracy")) for group in groups]
            known = [(float(cost), float(accuracy)) for cost, accuracy in figures if cost and accuracy is not None]
            if known:
                costs, accuracies = zip(*known, strict=True)
                interval = Interval.of(accuracies, SHARE)
                hue = place if len(shown.scored) > 1 else symbol
                point = Point(mean(costs), interval.mean, hue, symbol, _reach(interval))
                points[label(shown.variants, variant, name)] = point
    return points


def _table(title: str, columns: tuple[str, ...], points: Mapping[str, Point]) -> TextTable:
    best = front(points)
    rows = tuple(
        (name, size(point.cost), _between(point), *point.cells, "yes" if name in best else "no")
        for name, point in points.items()
    )
    return TextTable(title, (*columns, "on the front"), rows)


def _between(point: Point) -> str:
    """Returns mean and interval: `0.8100 (0.7900 to 0.8300)`."""
    text = number(point.accuracy)
    if point.interval is None:
        return text
    down, up = point.interval
    return f"{text} ({number(point.accuracy - down)} to {number(point.accuracy + up)})"


def front(points: Mapping[str, Point]) -> list[str]:
    """Returns the names of the points that no other beats in both cost and accuracy, by rising cost."""
    names: list[str] = []
    best = -math.inf
    for name, point in sorted(points.items(), key=lambda item: (item[1].cost, -item[1].accuracy)):
        if point.accuracy > best:
            names.append(name)
            best = point.accuracy
    return names


def _plot(points: Mapping[str, Point], x: str, unit: float, y: str) -> Json:
    """Points and their front; a unit has so many bytes."""
    line = [points[name] for name in front(points)]
    data: list[Json] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "front",
            "x": rounded(point.cost / unit for point in line),
            "y": rounded(point.accuracy for point in line),
            "line": {"color": "@soft", "width": 1.5, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    for name, point in points.items():
        marker = {"symbol": SYMBOLS[point.symbol % len(SYMBOLS)], "size": 11, "color": colour(point.colour)}
        place = {"x": rounded([point.cost / unit]), "y": rounded([point.accuracy])}
        data.append({"type": "scatter", "mode": "markers", "name": name, "marker": marker, **place})
        if point.interval:
            down, up = ([reach] for reach in point.interval)
            ends = {"type": "data", "symmetric": False, "array": rounded(up), "arrayminus": rounded(down)}
            data[-1]["error_y"] = {**ends, "color": colour(point.colour), "thickness": 1.2}
    layout = axes(x, y)
    layout["xaxis"]["rangemode"] = "tozero"
    return plotted(data, layout)

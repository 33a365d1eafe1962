"""Plots about accuracy and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedcompress.results.compare.comparison import Comparison, Row
from fedcompress.results.compare.tables import TextTable
from fedcompress.results.report.drawing import (
    FEW,
    SYMBOLS,
    Json,
    Panel,
    Variants,
    axes,
    band,
    colour,
    drawn,
    line,
    only_run,
    rounded,
    stacked,
)
from fedcompress.results.runs import RunResult
from fedcompress.units import number, size

if TYPE_CHECKING:
    import pandas as pd


def _curves(runs: Sequence[RunResult]) -> pd.DataFrame:
    """Returns, by round, accuracy (mean, min, max over seeds) and megabytes so far (mean)."""
    import pandas as pd

    frames = []
    for run in runs:
        rounds = run.rounds
        total = (rounds["uplink_bytes"] + rounds["downlink_bytes"]).cumsum() / 1e6
        accuracy = rounds["accuracy"].astype(float)
        frames.append(pd.DataFrame({"round": rounds["round"], "accuracy": accuracy, "megabytes": total}))
    curves = pd.concat(frames).dropna(subset="accuracy").groupby("round")
    return pd.DataFrame(
        {
            "mean": curves["accuracy"].mean(),
            "low": curves["accuracy"].min(),
            "high": curves["accuracy"].max(),
            "megabytes": curves["megabytes"].mean(),
        }
    )


def over_rounds(variants: Variants) -> Panel:
    """Test accuracy after each round."""
    data: list[Json] = []
    curves = {name: _curves(runs) for name, runs in variants.items()}
    for index, (name, curve) in enumerate(curves.items()):
        if len(variants[name]) > 1:
            data += band(name, index, curve.index, curve["low"], curve["high"])
        data.append(line(name, index, curve.index, curve["mean"], marked=len(curve) <= FEW))
    note = "On the test set, by which nothing is chosen."
    if single := only_run(variants):
        rounds = single.rounds.dropna(subset="accuracy")
        if "validation_accuracy" in rounds and rounds["validation_accuracy"].notna().any():
            values = rounds["validation_accuracy"].astype(float)
            data[-1]["name"] = "test"
            data.append(line("validation", 1, rounds["round"], values, marked=len(rounds) <= FEW))
        return Panel("Accuracy over rounds", note, drawn(data, axes("round", "accuracy")), _rounds_table(single))
    if any(len(runs) > 1 for runs in variants.values()):
        note += " Lines are means over seeds, areas reach from the worst seed to the best."
    numbers = sorted({int(number) for curve in curves.values() for number in curve.index})
    rows = [(str(n), *(number(float(c["mean"][n])) if n in c.index else "-" for c in curves.values())) for n in numbers]
    table = TextTable("Accuracy after each round, mean over seeds", ("round", *curves), tuple(rows))
    return Panel("Accuracy over rounds", note, drawn(data, axes("round", "accuracy")), table)


def _rounds_table(run: RunResult) -> TextTable:
    rows = []
    for row in run.rounds.to_dict("records"):
        figures = [number(_value(row, key)) for key in ("accuracy", "validation_accuracy", "loss")]
        sizes = [size(row[key]) for key in ("uplink_bytes", "downlink_bytes")]
        counts = [str(row["clients"]), str(row["failures"])]
        rows.append((str(row["round"]), *figures, f"{row['seconds']:.1f}", *sizes, *counts))
    columns = ("round", "accuracy", "validation", "loss", "seconds", "up", "down", "clients", "failures")
    return TextTable("Each round", columns, tuple(rows))


def over_bytes(variants: Variants) -> Panel:
    """Test accuracy over all bytes that have crossed."""
    data, rows = [], []
    for index, (name, runs) in enumerate(variants.items()):
        curve = _curves(runs)
        data.append(line(name, index, curve["megabytes"], curve["mean"], marked=len(curve) <= FEW))
        data[-1]["text"] = [f"round {number}" for number in curve.index]
        rows += [
            (name, str(n), size(1e6 * float(mb)), number(float(mean)))
            for n, mb, mean in zip(curve.index, curve["megabytes"], curve["mean"], strict=True)
        ]
    note = "Up and down together, envelopes counted, measured on the messages."
    if single := only_run(variants):
        dense = single.ledger.groupby("round")["dense_bytes"].sum().cumsum() / 1e6
        known = _curves([single])["mean"].reindex(dense.index).dropna()
        if len(known):
            data[-1]["name"] = "measured"
            x = dense.loc[known.index]
            data.append(line("the same as dense float32", 1, x, known, marked=len(known) <= FEW))
    table = TextTable("Accuracy and bytes so far", ("variant", "round", "bytes", "accuracy"), tuple(rows))
    figure = drawn(data, axes("megabytes, up and down", "accuracy"))
    return Panel("Accuracy over bytes", note, figure, table)


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Returns the names of the points (cost, accuracy) that no other beats in both, by rising cost."""
    chosen: list[str] = []
    best = -math.inf
    for name, (_, accuracy) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if accuracy > best:
            chosen.append(name)
            best = accuracy
    return chosen


def pareto_bytes(comparison: Comparison) -> Panel | None:
    """Accuracy against all bytes, a point per variant."""
    rows = [row for row in comparison.rows if row.cells["accuracy"].interval and row.cells["bytes"].interval]
    if len(rows) < 2:
        return None
    points = {row.variant: (_mean(row, "bytes") / 1e6, _mean(row, "accuracy")) for row in rows}
    error = [_error(row) for row in rows]
    columns = ("variant", "bytes", "accuracy", "model", "on the front")
    chosen = front(points)
    lines = tuple(
        (row.variant, size(_mean(row, "bytes")), number(_mean(row, "accuracy")), _model(row), _yes(row.variant, chosen))
        for row in rows
    )
    figure = _pareto(points, chosen, "megabytes, up and down", [(n, n) for n in range(len(points))], error)
    note = "The line joins variants that no other beats in both. Bars are 95 % intervals, which end at 0 and 1."
    return Panel("Accuracy against bytes", note, figure, TextTable("Accuracy, bytes and size", columns, lines))


def _mean(row: Row, figure: str) -> float:
    interval = row.cells[figure].interval
    assert interval is not None
    return interval.mean


def _error(row: Row) -> tuple[float, float]:
    """Returns how far the interval of the accuracy reaches down and up."""
    interval = row.cells["accuracy"].interval
    if interval is None or interval.low is None or interval.high is None:
        return 0.0, 0.0
    return interval.mean - interval.low, interval.high - interval.mean


def _model(row: Row) -> str:
    interval = row.cells["model_bytes"].interval
    return size(interval.mean) if interval else "-"


def _yes(name: str, chosen: Sequence[str]) -> str:
    return "yes" if name in chosen else "no"


def pareto_size(variants: Variants) -> Panel | None:
    """Accuracy of what a group's clients deploy against the size of that model, a point per variant and group."""
    points: dict[str, tuple[float, float]] = {}
    looks: list[tuple[int, int]] = []
    for place, (variant, runs) in enumerate(variants.items()):
        for kind, group in enumerate(runs[0].summary["groups"]):
            found = [run.summary["groups"].get(group, {}) for run in runs]
            values = [(g.get("compressed_bytes"), g.get("deployed_accuracy") or g.get("accuracy")) for g in found]
            known = [(float(cost), float(accuracy)) for cost, accuracy in values if cost and accuracy is not None]
            if known:
                name = group if len(variants) == 1 else f"{variant}, {group}"
                cost, accuracy = (sum(part) / len(known) for part in zip(*known, strict=True))
                points[name] = (cost / 1e3, accuracy)
                looks.append((place if len(variants) > 1 else kind, kind))
    if len(points) < 2:
        return None
    chosen = front(points)
    rows = tuple(
        (name, size(1e3 * cost), number(accuracy), _yes(name, chosen)) for name, (cost, accuracy) in points.items()
    )
    table = TextTable("Accuracy and size of models", ("group", "deflated model", "accuracy", "on the front"), rows)
    note = "What a device of each group would run, and the deflated bytes of that model."
    figure = _pareto(points, chosen, "kilobytes, deflated model", looks)
    return Panel("Accuracy against model size", note, figure, table)


def _pareto(
    points: Mapping[str, tuple[float, float]],
    chosen: Sequence[str],
    x: str,
    looks: Sequence[tuple[int, int]],
    error: Sequence[tuple[float, float]] | None = None,
) -> Json:
    """Points and their front; `looks` are numbers of colour and symbol."""
    data: list[Json] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "front",
            "x": rounded(points[name][0] for name in chosen),
            "y": rounded(points[name][1] for name in chosen),
            "line": {"color": "@soft", "width": 1.5, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    for index, ((name, point), (hue, symbol)) in enumerate(zip(points.items(), looks, strict=True)):
        bar = {}
        if error:
            down, up = ([reach] for reach in error[index])
            ends = {"type": "data", "symmetric": False, "array": rounded(up), "arrayminus": rounded(down)}
            bar = {"error_y": {**ends, "color": colour(hue), "thickness": 1.2}}
        marker = {"symbol": SYMBOLS[symbol % len(SYMBOLS)], "size": 11, "color": colour(hue)}
        series = {"type": "scatter", "mode": "markers", "name": name, "marker": marker, **bar}
        data.append({**series, "x": rounded([point[0]]), "y": rounded([point[1]])})
    layout = axes(x, "accuracy")
    layout["xaxis"]["rangemode"] = "tozero"
    return drawn(data, layout)


def by_content(variants: Variants) -> Panel:
    """Bytes by direction and content, the mean over seeds."""
    sums: dict[tuple[str, str], dict[str, float]] = {}
    for variant, runs in variants.items():
        for direction in ("uplink", "downlink"):
            bar = sums[variant, direction] = {}
            for run in runs:
                for content, count in run.summary["bytes_by_content"].get(direction, {}).items():
                    bar[content] = bar.get(content, 0.0) + count / len(runs)
    totals: dict[str, float] = {}
    for bar in sums.values():
        for content, count in bar.items():
            totals[content] = totals.get(content, 0.0) + count
    contents = sorted(totals, key=lambda content: (content == "envelope", -totals[content]))
    words = {"uplink": "up", "downlink": "down"}
    labels = [words[d] if len(variants) == 1 else f"{variant}, {words[d]}" for variant, d in sums]
    parts = {content: [bar.get(content, 0.0) / 1e6 for bar in sums.values()] for content in contents}
    single = only_run(variants)
    table = _ledger_table(single) if single else _contents_table(sums, contents)
    note = "The envelope is what a message has besides its contents: rows sum to all bytes that crossed."
    figure = stacked(labels, parts, "megabytes")
    return Panel("Bytes by direction and content", note, figure, table, 150 + 34 * len(labels))


def _contents_table(sums: Mapping[tuple[str, str], Mapping[str, float]], contents: Sequence[str]) -> TextTable:
    rows = tuple(
        (variant, direction, *(size(bar.get(content, 0.0)) for content in contents), size(sum(bar.values())))
        for (variant, direction), bar in sums.items()
    )
    return TextTable("Bytes, mean over seeds", ("variant", "direction", *contents, "all"), rows)


def _ledger_table(run: RunResult) -> TextTable:
    """What crossed, beside the same as dense float32 and the entropy of what the receiver did not know."""
    keys, figures = ["direction", "content"], ["wire_bytes", "dense_bytes", "bound_bytes"]
    sums = run.ledger.groupby(keys, sort=False)[figures].sum()
    rows = []
    for row in sums.reset_index().to_dict("records"):
        wire, dense, bound = (float(row[figure]) for figure in figures)
        shown = (size(wire), size(dense or None), _ratio(dense, wire), size(bound or None))
        rows.append((str(row["content"]), str(row["direction"]), *shown))
    columns = ("content", "direction", "bytes", "as dense float32", "times fewer", "entropy bound")
    return TextTable("The ledger", columns, tuple(rows))


def _ratio(dense: float, wire: float) -> str:
    return f"{dense / wire:.2f}" if dense and wire else "-"


def _value(row: Mapping[Any, Any], key: str) -> float | None:
    value = row.get(key)
    return None if value is None else float(value)

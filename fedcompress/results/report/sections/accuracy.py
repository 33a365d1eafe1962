"""Accuracy over rounds and over bytes, and which runs ended early."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedcompress.page.blocks import Block, Panel, TextTable
from fedcompress.page.figures import FEW, Json, axes, band, line, plotted
from fedcompress.results.report.shown import Shown
from fedcompress.results.runs import RunResult
from fedcompress.units import number, size

if TYPE_CHECKING:
    import pandas as pd

TITLE, PLACE = "Accuracy", 20


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields both plots, and the runs that ended early."""
    if shown.scored:
        yield from filter(None, [ended_early(shown.runs)])
        yield over_rounds(shown)
        yield over_bytes(shown)


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


def over_rounds(shown: Shown) -> Panel:
    """Test accuracy after each round."""
    data: list[Json] = []
    curves = {name: _curves(runs) for name, runs in shown.scored.items()}
    for index, (name, curve) in enumerate(curves.items()):
        if len(shown.scored[name]) > 1:
            data += band(name, index, curve.index, curve["low"], curve["high"])
        data.append(line(name, index, curve.index, curve["mean"], marked=len(curve) <= FEW))
    note = "On the test set, by which nothing is chosen."
    if single := shown.only:
        rounds = single.rounds.dropna(subset="accuracy")
        if "validation_accuracy" in rounds and rounds["validation_accuracy"].notna().any():
            values = rounds["validation_accuracy"].astype(float)
            data[-1]["name"] = "test"
            data.append(line("validation", 1, rounds["round"], values, marked=len(rounds) <= FEW))
        return Panel("Accuracy over rounds", note, plotted(data, axes("round", "accuracy")), _rounds_table(single))
    if any(len(runs) > 1 for runs in shown.scored.values()):
        note += " Lines are means over seeds, areas reach from the worst seed to the best."
    numbers = sorted({int(number) for curve in curves.values() for number in curve.index})
    rows = [(str(n), *(number(float(c["mean"][n])) if n in c.index else "-" for c in curves.values())) for n in numbers]
    table = TextTable("Accuracy after each round, mean over seeds", ("round", *curves), tuple(rows))
    return Panel("Accuracy over rounds", note, plotted(data, axes("round", "accuracy")), table)


def _rounds_table(run: RunResult) -> TextTable:
    rows = []
    for row in run.rounds.to_dict("records"):
        scores = [number(_value(row, key)) for key in ("accuracy", "validation_accuracy", "loss")]
        sizes = [size(row[key]) for key in ("uplink_bytes", "downlink_bytes")]
        counts = [str(row["clients"]), str(row["failures"])]
        rows.append((str(row["round"]), *scores, f"{row['seconds']:.1f}", *sizes, *counts))
    columns = ("round", "accuracy", "validation", "loss", "seconds", "up", "down", "clients", "failures")
    return TextTable("Each round", columns, tuple(rows))


def over_bytes(shown: Shown) -> Panel:
    """Test accuracy over all bytes that have crossed."""
    data, rows = [], []
    for index, (name, runs) in enumerate(shown.scored.items()):
        curve = _curves(runs)
        data.append(line(name, index, curve["megabytes"], curve["mean"], marked=len(curve) <= FEW))
        data[-1]["text"] = [f"round {number}" for number in curve.index]
        rows += [
            (name, str(n), size(1e6 * float(mb)), number(float(mean)))
            for n, mb, mean in zip(curve.index, curve["megabytes"], curve["mean"], strict=True)
        ]
    note = "Up and down together, envelopes counted, measured on the messages."
    if single := shown.only:
        dense = single.ledger.groupby("round")["dense_bytes"].sum().cumsum() / 1e6
        scores = _curves([single])["mean"].reindex(dense.index).dropna()
        if len(scores):
            data[-1]["name"] = "measured"
            x = dense.loc[scores.index]
            data.append(line("the same as dense float32", 1, x, scores, marked=len(scores) <= FEW))
    table = TextTable("Accuracy and bytes so far", ("variant", "round", "bytes", "accuracy"), tuple(rows))
    figure = plotted(data, axes("megabytes, up and down", "accuracy"))
    return Panel("Accuracy over bytes", note, figure, table)


def _value(row: Mapping[Any, Any], key: str) -> float | None:
    value = row.get(key)
    return None if value is None else float(value)


def ended_early(runs: Sequence[RunResult]) -> TextTable | None:
    """Runs that `[stop]` ended, unless there is only one run: of that, the verdict says it."""
    rows = tuple(
        (f"{run.variant}, seed {run.seed}", f"{run.summary['rounds']} of {run.scenario['rounds']}", stop["detail"])
        for run in runs
        if (stop := run.summary.get("stopped"))
    )
    caption = "Where runs of a variant have ended, a line goes on as the mean of the others."
    table = TextTable("Runs that ended early", ("run", "rounds", "why"), rows, caption)
    return table if rows and len(runs) > 1 else None

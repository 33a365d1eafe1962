"""The global model over rounds and over bytes, and which runs ended early."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fedcompress.page.blocks import Block, Panel, TextTable
from fedcompress.page.figures import Json, axes, band, line, numbers, plotted
from fedcompress.results.report.shown import Shown
from fedcompress.results.runs import RunResult
from fedcompress.units import number, size

if TYPE_CHECKING:
    import pandas as pd

TITLE, PLACE, JUDGED_BY = "The global model", 22, ("accuracy",)
_DEVICES = {
    "deployed_accuracy": "deployed",
    "deployed_worst": "worst group",
    "own_accuracy": "own models",
    "own_worst10": "their worst tenth",
    "personal_accuracy": "personal",
    "personal_worst10": "its worst tenth",
}
"""Columns of rounds in which something was tested that devices run, or that clients keep, as a table calls them."""


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields both plots, and the runs that ended early."""
    if shown.scored:
        yield from ended_early(shown.runs)
        yield over_rounds(shown)
        yield over_bytes(shown)


def _curve(runs: Sequence[RunResult]) -> pd.DataFrame:
    """Returns, by round, accuracy (mean, min, max over seeds) and megabytes so far (mean)."""
    import pandas as pd

    frames = [
        run.rounds[["round"]].assign(
            accuracy=run.rounds["accuracy"].astype(float),
            megabytes=(run.rounds["uplink_bytes"] + run.rounds["downlink_bytes"]).cumsum() / 1e6,
        )
        for run in runs
    ]
    rounds = pd.concat(frames).dropna(subset="accuracy").groupby("round")
    accuracy = rounds["accuracy"]
    ends = {"mean": accuracy.mean(), "low": accuracy.min(), "high": accuracy.max()}
    return pd.DataFrame({**ends, "megabytes": rounds["megabytes"].mean()})


def over_rounds(shown: Shown) -> Panel:
    """Test accuracy of the global model after each round."""
    data: list[Json] = []
    curves = {name: _curve(runs) for name, runs in shown.scored.items()}
    for index, (name, curve) in enumerate(curves.items()):
        if len(shown.scored[name]) > 1:
            data += band(name, index, curve.index, curve["low"], curve["high"])
        data.append(line(name, index, curve.index, curve["mean"]))
    note = "Of the global model, on the test set, by which nothing is chosen."
    if shown.only:
        rounds, table = shown.only.rounds.dropna(subset="accuracy"), _each_round(shown.only)
        if "validation_accuracy" in rounds and rounds["validation_accuracy"].notna().any():
            data[-1]["name"] = "test"
            data.append(line("validation", 1, rounds["round"], rounds["validation_accuracy"].astype(float)))
    else:
        if any(len(runs) > 1 for runs in shown.scored.values()):
            note += " Lines are means over seeds, areas reach from the worst seed to the best."
        rows = [
            (str(n), *(number(float(curve["mean"].get(n, math.nan))) for curve in curves.values()))
            for n in sorted({int(n) for curve in curves.values() for n in curve.index})
        ]
        table = TextTable("Global accuracy after each round, mean over seeds", ("round", *curves), tuple(rows))
    return Panel("Global accuracy over rounds", note, plotted(data, axes("round", "global accuracy")), table)


def _each_round(run: RunResult) -> TextTable:
    deployed = {key: title for key, title in _DEVICES.items() if run.rounds[key].notna().any()}
    rows = tuple(
        (
            str(row["round"]),
            *(number(row.get(key)) for key in (*deployed, "accuracy", "validation_accuracy", "loss")),
            f"{row['seconds']:.1f}",
            *(size(row[key]) for key in ("uplink_bytes", "downlink_bytes")),
            str(row["clients"]),
            str(row["failures"]),
        )
        for row in run.rounds.to_dict("records")
    )
    columns = ("global", "validation", "loss", "seconds", "up", "down", "clients", "failures")
    caption = "global, validation and loss: of the global model"
    return TextTable("Each round", ("round", *deployed.values(), *columns), rows, caption)


def over_bytes(shown: Shown) -> Panel:
    """Test accuracy of the global model over all bytes that have crossed."""
    data = [
        line(name, index, curve["megabytes"], curve["mean"], text=[f"round {n}" for n in curve.index])
        for index, (name, curve) in enumerate((name, _curve(runs)) for name, runs in shown.scored.items())
    ]
    if shown.only:
        dense = shown.only.ledger.groupby("round")["dense_bytes"].sum().cumsum() / 1e6
        scores = _curve([shown.only])["mean"].reindex(dense.index).dropna()
        if len(scores):
            data[-1]["name"] = "measured"
            hover = [f"round {n}" for n in scores.index]
            data.append(line("the same as dense float32", 1, dense.loc[scores.index], scores, text=hover))
    figure = plotted(data, axes("megabytes, up and down", "global accuracy"))
    return Panel(
        "Global accuracy over bytes",
        "Up and down together, envelopes counted, measured on the messages.",
        figure,
        numbers("Global accuracy and megabytes so far", ("variant", "megabytes", "global accuracy", "round"), figure),
    )


def ended_early(runs: Sequence[RunResult]) -> Iterable[TextTable]:
    """Runs that `[stop]` ended, unless there is only one run: of that, the verdict says it."""
    rows = tuple(
        (f"{run.variant}, seed {run.seed}", f"{run.summary['rounds']} of {run.scenario['rounds']}", stop["detail"])
        for run in runs
        if (stop := run.summary.get("stopped"))
    )
    if rows and len(runs) > 1:
        caption = "Where runs of a variant have ended, a line goes on as the mean of the others."
        yield TextTable("Runs that ended early", ("run", "rounds", "why"), rows, caption)

"""What the devices of each group run, over rounds, beside the global model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fedcompress.page.blocks import Block, Panel, TextTable
from fedcompress.page.figures import Json, axes, band, colour, line, plotted
from fedcompress.results.reading import of_group
from fedcompress.results.report.shown import Shown, over_seeds
from fedcompress.results.runs import RunResult
from fedcompress.units import number

if TYPE_CHECKING:
    import pandas as pd

TITLE, PLACE, JUDGED_BY = "What devices run", 20, ("deployed_accuracy",)
TEXT = "Deployed models on the test set, by which nothing is chosen, in the rounds in which they were tested."
DEPLOYED, GLOBAL = "deployed_accuracy", "global model"
MOST_GROUPS = 8
"""Groups that have a plot of their own where several variants are compared."""

Curves = Mapping[str, "pd.DataFrame"]
"""Name of a line -> by round, the mean over seeds, the lowest and the highest."""


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields a plot of all groups of one variant, or a plot for each group of several."""
    if len(shown.variants) == 1:
        (runs,) = shown.variants.values()
        yield _panel("Deployed accuracy over rounds", _of_groups(runs), {"": runs})
        return
    names = dict.fromkeys(name for runs in shown.variants.values() for name in _groups(runs))
    for name in list(names)[:MOST_GROUPS]:
        column = of_group(name, DEPLOYED)
        curves = {variant: over_seeds(runs, column) for variant, runs in shown.variants.items()}
        yield _panel(f"Deployed accuracy of {name} over rounds", curves, shown.variants)


def _groups(runs: Sequence[RunResult]) -> list[str]:
    return list(runs[0].summary["groups"])


def _of_groups(runs: Sequence[RunResult]) -> Curves:
    return {name: over_seeds(runs, of_group(name, DEPLOYED)) for name in _groups(runs)}


def _panel(title: str, curves: Curves, variants: Mapping[str, Sequence[RunResult]]) -> Panel:
    """Draws lines of deployed models, and the global model of each variant as reference, if anything was tested."""
    known = {name: curve for name, curve in curves.items() if len(curve)}
    data: list[Json] = []
    for index, (name, curve) in enumerate(known.items()):
        if (curve["high"] > curve["low"]).any():
            data += band(name, index, curve.index, curve["low"], curve["high"])
        data.append(line(name, index, curve.index, curve["mean"]))
    references = {name: over_seeds(runs, "accuracy") for name, runs in variants.items() if not name or name in known}
    if known:
        data += [
            _reference(f"{name}, {GLOBAL}" if name else GLOBAL, list(known).index(name) if name else None, curve)
            for name, curve in references.items()
        ]
    several = any(len(runs) > 1 for runs in variants.values())
    note = "Dotted: the global model" + ("." if "" in variants else " of the same variant.")
    if several:
        note += " Lines are means over seeds, areas reach from the worst seed to the best."
    return Panel(title, note, plotted(data, axes("round", "deployed accuracy")), _table(title, known, references))


def _reference(name: str, index: int | None, curve: pd.DataFrame) -> Json:
    """Returns the dotted line of a global model: of its variant's colour, and out of a legend that names variants."""
    hue = "@soft" if index is None else colour(index)
    style = {"line": {"color": hue, "dash": "dot", "width": 1.5}, "showlegend": index is None}
    return line(name, 0, curve.index, curve["mean"], marked=False, **style)


def _table(title: str, curves: Curves, references: Curves) -> TextTable:
    columns = {**curves, **{f"{name}, {GLOBAL}" if name else GLOBAL: curve for name, curve in references.items()}}
    rounds = sorted({float(n) for curve in columns.values() for n in curve.index})
    rows = tuple(
        (f"{n:g}", *(number(float(curve["mean"].get(n, float("nan")))) for curve in columns.values())) for n in rounds
    )
    return TextTable(f"{title}, mean over seeds", ("round", *columns), rows)

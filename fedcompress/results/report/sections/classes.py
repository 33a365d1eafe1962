"""How each class fares, and what it is taken for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.page.blocks import Block, Panel, TextTable
from fedcompress.page.figures import SYMBOLS, axes, colour, plotted, rounded
from fedcompress.results.report.shown import Shown, label
from fedcompress.units import number

TITLE, PLACE = "Classes", 55
TEXT = "What devices run, on the test set after the last round; of several seeds, all together."
MOST_MATRICES = 6
"""Matrices that are drawn."""
MOST_CELLS = 15
"""Classes up to which each has its number on an axis, and the numbers of a matrix are a table of their own."""

Matrices = Mapping[str, NDArray[np.float64]]


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields accuracy by class, and a matrix for each group."""
    matrices = _matrices(shown)
    if matrices:
        yield by_class(matrices)
    for name, matrix in list(matrices.items())[:MOST_MATRICES]:
        yield confusion(name, matrix)


def _matrices(shown: Shown) -> dict[str, NDArray[np.float64]]:
    """Group, with its variant if there are several -> counts, summed over seeds."""
    found: dict[str, NDArray[np.float64]] = {}
    for variant, runs in shown.scored.items():
        for run in runs:
            for group, counts in run.confusion.items():
                name, matrix = label(shown.variants, variant, group), np.asarray(counts, np.float64)
                found[name] = found[name] + matrix if name in found else matrix
    return found


def _shares(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns rows that sum to 1; of a class without examples, NaN."""
    counts = matrix.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = matrix / np.where(counts > 0, counts, np.nan)
    return shares


def by_class(matrices: Matrices) -> Panel:
    """Accuracy on the examples of each class."""
    data, columns = [], {}
    for index, (name, matrix) in enumerate(matrices.items()):
        known = np.flatnonzero(matrix.sum(axis=1))
        accuracies = np.diagonal(_shares(matrix))
        columns[name] = accuracies
        marker = {"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 8, "color": colour(index)}
        places = {"x": rounded(known), "y": rounded(accuracies[known])}
        data.append({"type": "scatter", "mode": "markers", "name": name, "marker": marker, **places})
    classes = len(next(iter(columns.values())))
    rows = tuple((str(c), *(number(float(values[c])) for values in columns.values())) for c in range(classes))
    layout = axes("class", "accuracy")
    if classes <= MOST_CELLS:
        layout["xaxis"] |= {"tickmode": "linear", "dtick": 1}  # or every other class has no number
    return Panel(
        "Accuracy by class",
        "Of the examples of each class, the share that is recognised.",
        plotted(data, layout),
        TextTable("Accuracy by class", ("class", *columns), rows),
    )


def confusion(name: str, matrix: NDArray[np.float64]) -> Panel:
    """What the examples of each class are taken for."""
    shares, classes = _shares(matrix), len(matrix)
    labels = [str(c) for c in range(classes)]
    few = classes <= MOST_CELLS
    bar = {"thickness": 12, "outlinewidth": 0, "title": {"text": "share of the class", "side": "right"}}
    heat: dict[str, Any] = {
        "type": "heatmap",
        "z": [rounded(row) for row in shares],
        "zmin": 0,
        "zmax": 1,
        "x": labels,
        "y": labels,
        "colorscale": [[0, "@heat-low"], [1, "@heat-high"]],
        "colorbar": bar,
        "hovertemplate": "class %{y} taken for %{x}: %{z:.3f}<extra></extra>",
        "xgap": 1 if few else 0,
        "ygap": 1 if few else 0,
    }
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "taken for"}, "type": "category", "showgrid": False},
        "yaxis": {"title": {"text": "class"}, "type": "category", "autorange": "reversed", "showgrid": False},
    }
    title = f"Confusion of {name}"
    note = "Of the examples of each class, the share that is taken for each."
    return Panel(title, note, plotted([heat], layout), _numbers(title, matrix), min(560, 140 + 22 * classes))


def _numbers(title: str, matrix: NDArray[np.float64]) -> TextTable:
    """All counts of a few classes; of many, what they are taken for most often by mistake."""
    if len(matrix) <= MOST_CELLS:
        rows = tuple((str(c), *(f"{count:.0f}" for count in row)) for c, row in enumerate(matrix))
        return TextTable(f"{title}, examples", ("class", *map(str, range(len(matrix)))), rows)
    mistakes = matrix - np.diag(np.diagonal(matrix))
    most = np.argsort(-mistakes, axis=None, kind="stable")[:30]
    pairs = [divmod(int(place), len(matrix)) for place in most if mistakes.flat[place]]
    rows = tuple((str(true), str(taken), f"{mistakes[true, taken]:.0f}") for true, taken in pairs)
    return TextTable(f"{title}: the most frequent mistakes", ("class", "taken for", "examples"), rows)

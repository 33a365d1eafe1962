"""Who holds which labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fedcompress.data.plot import label_table
from fedcompress.page.blocks import Block, Panel
from fedcompress.page.figures import plotted
from fedcompress.results.report.shown import Shown

TITLE, PLACE = "Who holds what", 70
MOST_SPLITS = 6
"""Splits that are drawn."""


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields a plot for each split that differs from the others."""
    splits: dict[str, tuple[Mapping[str, Any], int]] = {}
    for variant, runs in shown.variants.items() if shown.scored else ():
        federation = runs[0].federation
        if federation and federation["labels"] not in [other["labels"] for other, _ in splits.values()]:
            splits[variant] = (federation, runs[0].scenario["data"].get("seed", runs[0].seed))
    drawn = list(splits.items())[:MOST_SPLITS]
    most = max((count for _, (split, _) in drawn for row in split["labels"] for count in row), default=0)
    title = "Labels of the clients' examples"
    for variant, (split, seed) in drawn:
        yield _split(title if len(shown.variants) == 1 else f"{title}: {variant}", split, seed, most)


def _split(title: str, federation: Mapping[str, Any], seed: int, most: int) -> Panel:
    labels = federation["labels"]
    few = len(labels) <= 25
    classes = [str(label) for label in range(len(labels[0]))]
    data = [
        {
            "type": "heatmap",
            "z": labels,
            "zmin": 0,
            "zmax": most,
            "x": classes,
            "y": list(range(len(labels))),
            "colorscale": [[0, "@heat-low"], [1, "@heat-high"]],
            "colorbar": {"thickness": 12, "outlinewidth": 0, "title": {"text": "examples", "side": "right"}},
            "hovertemplate": "client %{y}, class %{x}: %{z} examples<extra></extra>",
            "xgap": 1 if few else 0,
            "ygap": 1 if few else 0,
        }
    ]
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "class"}, "type": "category", "showgrid": False},
        "yaxis": {"title": {"text": "client"}, "autorange": "reversed", "showgrid": False}
        | ({"dtick": 1} if few else {}),
    }
    table = label_table(labels, [f"{client} ({group})" for client, group in enumerate(federation["groups"])], classes)
    note = f"Seed {seed}. Validation examples included."
    return Panel(title, note, plotted(data, layout), table, min(560, 140 + 22 * len(labels)))

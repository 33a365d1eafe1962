"""The accuracies that are means over clients, over rounds: of the models that they keep, and after a local epoch."""

from __future__ import annotations

from collections.abc import Iterable

from fedcompress.page.blocks import Block, Panel, TextTable
from fedcompress.page.figures import Json, axes, band, line, plotted
from fedcompress.results.compare.figures import OWN, PERSONAL
from fedcompress.results.report.shown import Shown, over_seeds
from fedcompress.units import number

TITLE, PLACE, JUDGED_BY = "Clients on their own distributions", 24, (OWN, PERSONAL)
TEXT = "Means over clients, each on test examples of its own distribution, by which nothing is chosen."
PLOTS = {
    OWN: (
        "The clients' own models over rounds",
        "Of the model that each client keeps; of what devices run if none keeps one.",
        "own models",
    ),
    PERSONAL: (
        "Personal accuracy over rounds",
        "Of what each device runs, after one more epoch on its client's data.",
        "personal accuracy",
    ),
}


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields a plot of each figure that was measured, that by which runs are judged first."""
    for figure in sorted(PLOTS, key=lambda figure: figure != shown.comparison.headline.name):
        yield over_rounds(shown, figure)


def over_rounds(shown: Shown, figure: str) -> Panel:
    """A figure after each round in which it was measured: a line for each variant."""
    title, note, axis = PLOTS[figure]
    curves = {name: of for name, runs in shown.variants.items() if len(of := over_seeds(runs, figure))}
    data: list[Json] = []
    for index, (name, of) in enumerate(curves.items()):
        if (of["high"] > of["low"]).any():
            data += band(name, index, of.index, of["low"], of["high"])
        data.append(line(name, index, of.index, of["mean"]))
    if len(shown.runs) > len(shown.variants):
        note += " Lines are means over seeds, areas reach from the worst seed to the best."
    rounds = sorted({int(n) for of in curves.values() for n in of.index})
    rows = tuple((str(n), *(number(float(of["mean"].get(n, float("nan")))) for of in curves.values())) for n in rounds)
    table = TextTable(f"{title}, mean over seeds", ("round", *curves), rows)
    return Panel(title, note, plotted(data, axes("round", axis)), table)

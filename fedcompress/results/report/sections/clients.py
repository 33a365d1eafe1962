"""Groups at the end, how each client fares, and how sparse the groups are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from fedcompress.fairness import over_clients, worst_tenth
from fedcompress.page.blocks import Block, Panel, TextTable
from fedcompress.page.figures import SYMBOLS, Json, axes, colour, line, plotted, rounded
from fedcompress.results.report.shown import Shown, Variants, by_group, label
from fedcompress.results.runs import RunResult
from fedcompress.units import number, size

if TYPE_CHECKING:
    import pandas as pd

TITLE, PLACE = "Groups and clients", 50
_DEVICES = {
    "deployed_accuracy": "deployed",
    "own_accuracy": "own models",
    "own_worst10": "their worst tenth",
    "personal_accuracy": "personal",
    "personal_worst10": "its worst tenth",
}
"""Figures of what a group's devices run, or its clients keep, with what the table calls them."""
MOST_ROWS = 100
"""Clients that a table lists."""


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields a table of the groups, and both plots."""
    if shown.scored:
        yield from (groups(shown.scored), clients(shown), sparsity(shown.scored))


def clients(shown: Shown) -> Panel:
    """Accuracy of each client on its own distribution, sorted, with the worst tenth shaded."""
    if shown.only:
        accuracies = own_accuracies(shown.only)
        data, table = _dots(accuracies), _clients(accuracies, personal(shown.only))
    else:
        data, table = _lines(shown.scored)
    layout = axes("clients from worst to best, in percent", "accuracy on own data")
    layout["xaxis"]["range"] = [0, 100]
    shade = {"type": "rect", "xref": "x", "yref": "paper", "x0": 0, "x1": 10, "y0": 0, "y1": 1, "layer": "below"}
    layout["shapes"] = [{**shade, "line": {"width": 0}, "fillcolor": colour(1, 0.12)}]
    note = (
        "Each client's deployed model, on test examples that are distributed as its own data. Shaded: the worst tenth."
    )
    return Panel("Each client on its own distribution", note, plotted(data, layout), table)


def own_accuracies(run: RunResult) -> list[tuple[int, str, float]]:
    """Returns (client, group, final accuracy on its own distribution), by accuracy; empty where it was not recorded."""
    federation = run.federation
    if not federation or not federation.get("accuracies"):
        return []
    rows = enumerate(zip(federation["groups"], federation["accuracies"], strict=True))
    return sorted(((c, group, float(a)) for c, (group, a) in rows if a is not None), key=lambda row: row[2])


def personal(run: RunResult) -> Mapping[int, float]:
    """Returns client -> accuracy on its own distribution after an epoch of its own; empty where it was not measured."""
    measured = (run.federation or {}).get("personal") or []
    return {client: float(accuracy) for client, accuracy in enumerate(measured) if accuracy is not None}


def _places(clients: int) -> list[float]:
    """Where clients stand that are sorted by accuracy, in percent."""
    return [100 * (place + 0.5) / clients for place in range(clients)]


def _dots(accuracies: Sequence[tuple[int, str, float]]) -> list[Json]:
    """A dot per client, at its place among all of them."""
    data = []
    for index, group in enumerate(dict.fromkeys(group for _, group, _ in sorted(accuracies))):
        dots = [(x, row) for x, row in zip(_places(len(accuracies)), accuracies, strict=True) if row[1] == group]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": group,
                "marker": {"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 9, "color": colour(index)},
                "x": rounded(x for x, _ in dots),
                "y": rounded(row[2] for _, row in dots),
                "text": [f"client {row[0]}" for _, row in dots],
            }
        )
    return data


def _clients(accuracies: Sequence[tuple[int, str, float]], personal: Mapping[int, float]) -> TextTable:
    worst = len(worst_tenth([accuracy for *_, accuracy in accuracies]))
    rows = tuple(
        (
            *(str(client), group, number(accuracy), "yes" if place < worst else ""),
            *([number(personal.get(client))] if personal else []),
        )
        for place, (client, group, accuracy) in enumerate(accuracies)
    )
    columns = ("client", "group", "own data", "worst tenth", *(["personal"] if personal else []))
    table = TextTable("Clients, the worst first", columns, rows)
    return table.cut(MOST_ROWS, f"The {MOST_ROWS} worst of {len(accuracies)}.")


def _lines(variants: Variants) -> tuple[list[Json], TextTable]:
    """A line per variant: the mean over seeds of the client at each place."""
    data, rows = [], []
    for index, (name, runs) in enumerate(variants.items()):
        of_runs = [[a for *_, a in accuracies] for run in runs if (accuracies := own_accuracies(run))]
        if of_runs and len({len(accuracies) for accuracies in of_runs}) == 1:
            means = [mean(places) for places in zip(*of_runs, strict=True)]
            data.append(line(name, index, _places(len(means)), means))
            figures = over_clients(means)
            ends = (means[0], means[len(means) // 2], means[-1])
            rows.append((name, str(len(means)), *map(number, (figures["mean"], figures["worst10"], *ends))))
    columns = ("variant", "clients", "mean", "worst tenth", "lowest", "middle", "highest")
    return data, TextTable("Clients on their own distributions", columns, tuple(rows))


def sparsity(variants: Variants) -> Panel:
    """Sparsity asked and achieved over rounds, for each group that prunes."""
    data: list[Json] = []
    rows: list[tuple[str, ...]] = []
    for variant, runs in variants.items():
        for group, curve in _sparsities(runs).items():
            if (curve["sparsity_target"] > 0).any():
                name, index, last = label(variants, variant, group), len(rows), curve.iloc[-1]
                target = line(f"{name}, asked", index, curve.index, curve["sparsity_target"], marked=False)
                broad = {"color": colour(index), "width": 7, "dash": "solid"}
                data.append(line(name, index, curve.index, curve["sparsity"]))
                data.append({**target, "line": broad, "opacity": 0.28, "legendgroup": name, "showlegend": False})
                off = float((curve["sparsity"] - curve["sparsity_target"]).abs().max())
                rows.append((name, number(last["sparsity_target"], 3), number(last["sparsity"], 3), number(off, 4)))
    columns = ("group", "asked", "achieved", "largest difference in a round")
    return Panel(
        "Sparsity asked and achieved",
        "Zeros among all kernels' weights, mean over the group's clients. The broad lines are what was asked for.",
        plotted(data, axes("round", "sparsity")),
        TextTable("Sparsity at the end", columns, tuple(rows)),
    )


def _sparsities(runs: Sequence[RunResult]) -> dict[str, pd.DataFrame]:
    """Group -> by round, sparsity asked and achieved."""
    figures = ["sparsity", "sparsity_target"]
    groups = {
        group: rows.dropna(subset=figures).astype(dict.fromkeys(figures, float)) for group, rows in by_group(runs)
    }
    return {group: rows.groupby("round")[figures].mean() for group, rows in groups.items() if len(rows)}


def groups(variants: Variants) -> TextTable:
    """Groups at the end: means over seeds."""
    rows = []
    for variant, runs in variants.items():
        for name in runs[0].summary["groups"]:
            ends = [run.summary["groups"][name] for run in runs if name in run.summary["groups"]]
            on_own = [[a for _, group, a in own_accuracies(run) if group == name] for run in runs]
            rows.append(
                (
                    label(variants, variant, name),
                    str(ends[0]["model"]),
                    str(ends[0]["clients"]),
                    *(number(_mean(ends, key)) for key in _DEVICES),
                    number(mean(means) if (means := [mean(values) for values in on_own if values]) else None),
                    number(min((min(values) for values in on_own if values), default=None)),
                    number(_mean(ends, "accuracy")),
                    number(_mean(ends, "sparsity_target"), 2),
                    number(_mean(ends, "sparsity"), 3),
                    *(size(_mean(ends, key)) for key in ("upload_bytes", "compressed_bytes", "tflite_bytes")),
                )
            )
    columns = (
        *("group", "model", "clients", *_DEVICES.values(), "own data", "worst client"),
        *("global model", "asked", "sparsity", "upload", "deflated", "TFLite"),
    )
    caption = (
        "deployed: accuracy of what the group's devices run, on the test set; own models: of what its clients keep, "
        "each on its own distribution; personal: of each client on its own "
        "distribution after an epoch of its own; own data: likewise, without that epoch; global model: its accuracy, "
        "which sparse devices cannot have; upload: what one client sent in its latest round"
    )
    shown = [place for place in range(len(columns)) if any(row[place] != "-" for row in rows)]
    lines = tuple(tuple(row[place] for place in shown) for row in rows)
    return TextTable("Groups", tuple(columns[place] for place in shown), lines, caption)


def _mean(ends: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [float(end[key]) for end in ends if end.get(key) is not None]
    return mean(values) if values else None

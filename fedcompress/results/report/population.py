"""Plots and tables about clients: how each fares, how sparse groups are, who holds what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedcompress.results.compare.tables import TextTable
from fedcompress.results.report.drawing import (
    FEW,
    SYMBOLS,
    Json,
    Panel,
    Variants,
    axes,
    colour,
    drawn,
    line,
    only_run,
    rounded,
)
from fedcompress.results.runs import RunResult
from fedcompress.units import number, size

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 100
"""Clients that a table lists."""
MOST_SPLITS = 6
"""Splits that are drawn."""


def clients(variants: Variants) -> Panel | None:
    """Accuracy of each client on its own distribution, sorted, with the worst tenth shaded."""
    data: list[Json] = []
    if single := only_run(variants):
        accuracies = own_accuracies(single)
        if not accuracies:
            return None
        data += _dots(accuracies)
        table = _clients_table(accuracies)
    else:
        rows = []
        for index, (name, runs) in enumerate(variants.items()):
            sorted_runs = [sorted(a for _, _, a in own) for run in runs if (own := own_accuracies(run))]
            if not sorted_runs or len({len(run) for run in sorted_runs}) > 1:
                continue
            means = [sum(values) / len(values) for values in zip(*sorted_runs, strict=True)]
            places = [100 * (place + 0.5) / len(means) for place in range(len(means))]
            data.append(line(name, index, places, means, marked=len(means) <= FEW))
            worst = means[: max(1, math.ceil(0.1 * len(means)))]
            figures = (sum(means) / len(means), sum(worst) / len(worst), means[0], means[len(means) // 2], means[-1])
            rows.append((name, str(len(means)), *map(number, figures)))
        if not data:
            return None
        columns = ("variant", "clients", "mean", "worst tenth", "lowest", "middle", "highest")
        table = TextTable("Clients on their own distributions", columns, tuple(rows))
    layout = axes("clients from worst to best, in percent", "accuracy on own data")
    layout["xaxis"]["range"] = [0, 100]
    shade = {"type": "rect", "xref": "x", "yref": "paper", "x0": 0, "x1": 10, "y0": 0, "y1": 1, "layer": "below"}
    layout["shapes"] = [{**shade, "line": {"width": 0}, "fillcolor": colour(1, 0.12)}]
    note = "Each client's deployed model, on test examples with the label mix of its own data. Shaded: the worst tenth."
    return Panel("Each client on its own distribution", note, drawn(data, layout), table)


def own_accuracies(run: RunResult) -> list[tuple[int, str, float]]:
    """Returns (client, group, final accuracy on its own distribution), by accuracy; empty where it was not recorded."""
    found = run.federation
    if not found or not found.get("accuracies"):
        return []
    rows = zip(range(len(found["groups"])), found["groups"], found["accuracies"], strict=True)
    return sorted(((c, g, float(a)) for c, g, a in rows if a is not None), key=lambda row: row[2])


def _dots(accuracies: Sequence[tuple[int, str, float]]) -> list[Json]:
    """A dot per client, at its place among all of them."""
    places = [100 * (place + 0.5) / len(accuracies) for place in range(len(accuracies))]
    data = []
    for index, group in enumerate(dict.fromkeys(group for _, group, _ in sorted(accuracies))):
        own = [(place, row) for place, row in zip(places, accuracies, strict=True) if row[1] == group]
        marker = {"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 9, "color": colour(index)}
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": group,
                "marker": marker,
                "x": rounded(place for place, _ in own),
                "y": rounded(row[2] for _, row in own),
                "text": [f"client {row[0]}" for _, row in own],
            }
        )
    return data


def _clients_table(accuracies: Sequence[tuple[int, str, float]]) -> TextTable:
    worst = max(1, math.ceil(0.1 * len(accuracies)))
    rows = tuple(
        (str(client), group, number(accuracy), "yes" if place < worst else "")
        for place, (client, group, accuracy) in enumerate(accuracies[:MOST_ROWS])
    )
    caption = f"The {MOST_ROWS} worst of {len(accuracies)}." if len(accuracies) > MOST_ROWS else ""
    return TextTable("Clients, the worst first", ("client", "group", "accuracy", "worst tenth"), rows, caption)


def sparsity(variants: Variants) -> Panel | None:
    """Sparsity asked and achieved over rounds, for each group that prunes."""
    data: list[Json] = []
    rows: list[tuple[str, ...]] = []
    for variant, runs in variants.items():
        for group, curve in _sparsities(runs).items():
            if not (curve["sparsity_target"] > 0).any():
                continue
            name, index = group if len(variants) == 1 else f"{variant}, {group}", len(rows)
            marked = len(curve) <= FEW
            data.append(line(name, index, curve.index, curve["sparsity"], marked=marked))
            asked = line(f"{name}, asked", index, curve.index, curve["sparsity_target"], marked=False)
            broad = {"color": colour(index), "width": 7, "dash": "solid"}
            data.append({**asked, "line": broad, "opacity": 0.28, "legendgroup": name, "showlegend": False})
            last = curve.iloc[-1]
            off = float((curve["sparsity"] - curve["sparsity_target"]).abs().max())
            rows.append((name, number(last["sparsity_target"], 3), number(last["sparsity"], 3), number(off, 4)))
    if not rows:
        return None
    columns = ("group", "asked", "achieved", "largest difference in a round")
    note = "Zeros among all kernels' weights, mean over the group's clients. The broad lines are what was asked for."
    layout = axes("round", "sparsity")
    table = TextTable("Sparsity at the end", columns, tuple(rows))
    return Panel("Sparsity asked and achieved", note, drawn(data, layout), table)


def _sparsities(runs: Sequence[RunResult]) -> dict[str, pd.DataFrame]:
    """Group -> by round, sparsity asked and achieved."""
    import pandas as pd

    frames = [run.clients for run in runs if len(run.clients)]
    if not frames:
        return {}
    rows = pd.concat([frame[["round", "group", "sparsity", "sparsity_target"]] for frame in frames])
    rows = rows.dropna(subset=["sparsity", "sparsity_target"])
    rows = rows.astype({"sparsity": float, "sparsity_target": float})
    means = rows.groupby(["group", "round"], sort=False)[["sparsity", "sparsity_target"]].mean()
    return {str(group): means.loc[group].sort_index() for group in dict.fromkeys(rows["group"])}


def splits(variants: Variants) -> list[Panel]:
    """Who holds which labels, for each split that differs from the others."""
    different: dict[str, tuple[Mapping[str, Any], int]] = {}
    for variant, runs in variants.items():
        found = runs[0].federation
        if found and found["labels"] not in [other["labels"] for other, _ in different.values()]:
            different[variant] = (found, runs[0].seed)
    shown = list(different.items())[:MOST_SPLITS]
    most = max((count for _, (found, _) in shown for row in found["labels"] for count in row), default=0)
    title = "Labels of the clients' examples"
    return [
        _split(title if len(variants) == 1 else f"{title}: {variant}", found, seed, most)
        for variant, (found, seed) in shown
    ]


def _split(title: str, found: Mapping[str, Any], seed: int, most: int) -> Panel:
    labels, groups = found["labels"], found["groups"]
    names = [f"{client} ({group})" for client, group in enumerate(groups)]
    classes = [str(label) for label in range(len(labels[0]))]
    few = len(labels) <= 25
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
    layout = {
        "xaxis": {"title": {"text": "class"}, "type": "category", "showgrid": False},
        "yaxis": {"title": {"text": "client"}, "autorange": "reversed", "showgrid": False}
        | ({"dtick": 1} if few else {}),
    }
    rows = tuple(
        (name, *map(str, row), str(sum(row))) for name, row in zip(names[:MOST_ROWS], labels[:MOST_ROWS], strict=True)
    )
    caption = f"The first {MOST_ROWS} of {len(labels)} clients." if len(labels) > MOST_ROWS else ""
    table = TextTable("Examples of each class", ("client (group)", *classes, "all"), rows, caption)
    note = f"Seed {seed}. Validation examples included."
    return Panel(title, note, drawn(data, layout), table, min(560, 140 + 22 * len(labels)))


def group_table(variants: Variants) -> TextTable:
    """Groups at the end: means over seeds."""
    rows = []
    for variant, runs in variants.items():
        for name in runs[0].summary["groups"]:
            found = [run.summary["groups"][name] for run in runs if name in run.summary["groups"]]
            own = [[a for _, group, a in own_accuracies(run) if group == name] for run in runs]
            known = [sum(values) / len(values) for values in own if values]
            rows.append(
                (
                    name if len(variants) == 1 else f"{variant}, {name}",
                    str(found[0]["model"]),
                    str(found[0]["clients"]),
                    number(_over(found, "accuracy")),
                    number(_over(found, "deployed_accuracy")),
                    number(sum(known) / len(known) if known else None),
                    number(min((min(values) for values in own if values), default=None)),
                    number(_over(found, "sparsity_target"), 2),
                    number(_over(found, "sparsity"), 3),
                    size(_over(found, "upload_bytes")),
                    size(_over(found, "compressed_bytes")),
                    size(_over(found, "tflite_bytes")),
                )
            )
    columns = (
        "group",
        "model",
        "clients",
        "accuracy",
        "deployed",
        "own data",
        "worst client",
        "asked",
        "sparsity",
        "upload",
        "deflated",
        "TFLite",
    )
    caption = (
        "accuracy: the global model's; deployed: under the masks of the group's clients; own data: of each client on "
        "its own distribution; upload: what one client sent in its latest round"
    )
    shown = [place for place in range(len(columns)) if any(row[place] != "-" for row in rows)]
    lines = tuple(tuple(row[place] for place in shown) for row in rows)
    return TextTable("Groups", tuple(columns[place] for place in shown), lines, caption)


def _over(found: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [float(g[key]) for g in found if g.get(key) is not None]
    return sum(values) / len(values) if values else None

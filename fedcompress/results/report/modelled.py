"""Plots and tables of what the groups' devices would take: they come from a model, and every one of them says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from fedcompress.devices import DROPPED_OUT, LATE
from fedcompress.results.compare.tables import TextTable
from fedcompress.results.report.drawing import FEW, Panel, Variants, axes, drawn, line, stacked
from fedcompress.results.runs import RunResult
from fedcompress.units import number

if TYPE_CHECKING:
    import pandas as pd

TITLE = "Devices: a model, not measured"
ABOUT = (
    "Nothing here was timed on a device. Each client's own multiply-adds and bytes, as counted in the run, are divided "
    "by the rates below, times a straggler's factor that is drawn; energy is power times those times."
)
PARTS = ("download", "compute", "upload")
_COLUMNS = [f"modelled_{part}_seconds" for part in PARTS]


def with_devices(variants: Variants) -> dict[str, list[RunResult]]:
    """Returns the variants whose runs have modelled figures."""
    found = {name: [run for run in runs if "modelled" in run.summary] for name, runs in variants.items()}
    return {name: runs for name, runs in found.items() if runs}


def panels(variants: Variants) -> list[Panel]:
    """Returns accuracy over modelled time, and what an action consists of; `variants` are those with devices."""
    return [panel for panel in (_over_time(variants), _actions(variants)) if panel]


def tables(variants: Variants) -> list[TextTable]:
    """Returns the groups' figures, and the rates that were assumed."""
    return [_groups(variants), _assumed(variants)]


def _over_time(variants: Variants) -> Panel | None:
    import pandas as pd

    data, rows = [], []
    for index, (name, runs) in enumerate(variants.items()):
        scored = [run.rounds for run in runs if "modelled_seconds" in run.rounds]
        if not scored:
            continue
        frames = [
            pd.DataFrame(
                {
                    "round": rounds["round"],
                    "accuracy": rounds["accuracy"].astype(float),
                    "seconds": rounds["modelled_seconds"].fillna(0.0).astype(float).cumsum(),
                    "joules": rounds["modelled_joules"].fillna(0.0).astype(float).cumsum(),
                    "late": rounds["modelled_late"].fillna(0),
                    "dropouts": rounds["modelled_dropouts"].fillna(0),
                }
            )
            for rounds in scored
        ]
        curve = pd.concat(frames).groupby("round").mean()
        known = curve.dropna(subset="accuracy")
        data.append(line(name, index, known["seconds"], known["accuracy"], marked=len(known) <= FEW))
        data[-1]["text"] = [f"round {number_}" for number_ in known.index]
        rows += [
            (
                name,
                str(row["round"]),
                number(row["accuracy"]),
                _amount(row["seconds"]),
                _amount(row["joules"]),
                f"{row['late']:g}",
                f"{row['dropouts']:g}",
            )
            for row in curve.reset_index().to_dict("records")
        ]
    if not rows:
        return None
    columns = ("variant", "round", "accuracy", "modelled s so far", "modelled J so far", "late", "dropped out")
    note = "A round lasts until the last client that the server waits for. Means over seeds."
    table = TextTable("Modelled time and energy so far", columns, tuple(rows))
    return Panel("Accuracy over modelled time", note, drawn(data, axes("modelled seconds", "accuracy")), table)


def _actions(variants: Variants) -> Panel | None:
    bars: dict[str, Sequence[float]] = {}
    for variant, runs in variants.items():
        for group, rows in _by_group(runs).items():
            means = [float(_column(rows, column).mean()) for column in _COLUMNS]
            if all(map(isfinite, means)):
                bars[group if len(variants) == 1 else f"{variant}, {group}"] = means
    if not bars:
        return None
    parts = {part: [values[place] for values in bars.values()] for place, part in enumerate(PARTS)}
    rows_ = tuple((label, *map(_amount, values), _amount(sum(values))) for label, values in bars.items())
    table = TextTable("Modelled seconds of an action, mean", ("group", *PARTS, "all"), rows_)
    note = "The mean over clients and rounds; a straggler takes longer."
    figure = stacked(list(bars), parts, "modelled seconds")
    return Panel("Modelled time of an action", note, figure, table, 150 + 34 * len(bars))


def _groups(variants: Variants) -> TextTable:
    rows = []
    for variant, runs in variants.items():
        devices = _devices(runs[0])
        for group, actions in _by_group(runs).items():
            if devices.get(group) is None:
                continue
            seconds, joules = (_column(actions, f"modelled_{unit}") for unit in ("seconds", "joules"))
            rows.append(
                (
                    group if len(variants) == 1 else f"{variant}, {group}",
                    devices[group],
                    str(len(actions)),
                    _amount(float(seconds.mean())),
                    _amount(float(seconds.max())),
                    _amount(float(joules.mean())),
                    _amount(float(joules.sum()) / len(runs)),
                    str(int((actions["status"] == LATE).sum())),
                    str(int((actions["status"] == DROPPED_OUT).sum())),
                )
            )
    columns = (
        *("group", "device", "actions", "s an action", "slowest, s", "J an action", "J of a run"),
        *("late", "dropped out"),
    )
    caption = (
        "late: after the server's deadline; dropped out: the device was gone. Both are drawn by the model, and the "
        "server did not get these contributions. Counts are of all seeds."
    )
    return TextTable("Groups on their devices, modelled", columns, tuple(rows), caption)


def _assumed(variants: Variants) -> TextTable:
    used: dict[str, Mapping[str, Any]] = {}
    for runs in variants.values():
        known = runs[0].scenario.get("devices", {})
        used |= {name: known[name] for name in _devices(runs[0]).values() if name in known}
    rows = tuple(
        (
            name,
            f"{float(device['multiply_adds_per_second']):.3g}",
            f"{float(device['downlink_bits_per_second']) / 1e6:g}",
            f"{float(device['uplink_bits_per_second']) / 1e6:g}",
            *(f"{float(device.get(f'{part}_watts', 0.0)):g}" for part in ("compute", "downlink", "uplink")),
            f"{float(device.get('spread', 0.0)):g}",
            f"{float(device.get('dropout', 0.0)):g}",
        )
        for name, device in used.items()
    )
    columns = (
        *("device", "multiply-adds/s", "Mbit/s down", "Mbit/s up", "W computing", "W down", "W up"),
        *("spread", "dropout"),
    )
    return TextTable("Rates that are assumed", columns, rows)


def _devices(run: RunResult) -> dict[str, str]:
    """Group -> its device, where it has one."""
    groups = run.scenario.get("groups", ())
    return {str(group["name"]): str(group["device"]) for group in groups if group.get("device")}


def _column(rows: pd.DataFrame, name: str) -> pd.Series[float]:
    """Returns a column that is absent where every device was gone."""
    return rows.reindex(columns=[name])[name].astype(float)


def _by_group(runs: Sequence[RunResult]) -> dict[str, pd.DataFrame]:
    """Group -> rows of all its clients' actions."""
    import pandas as pd

    frames = [run.clients for run in runs if len(run.clients)]
    if not frames:
        return {}
    rows = pd.concat(frames)
    groups = [str(group["name"]) for group in runs[0].scenario["groups"]]
    return {group: part for group in groups if len(part := rows[rows["group"] == group])}


def _amount(value: float) -> str:
    """Returns seconds or joules with the digits that a model is worth."""
    return "-" if value != value else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

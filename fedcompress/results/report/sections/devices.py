"""Plots and tables of what the groups' devices would take: they come from a model, and every one of them says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from fedcompress.devices import DROPPED_OUT, LATE
from fedcompress.page.blocks import Block, Panel, TextTable
from fedcompress.page.figures import axes, line, plotted, stacked
from fedcompress.results.report.shown import Shown, Variants, by_group, label
from fedcompress.results.runs import RunResult
from fedcompress.units import number

if TYPE_CHECKING:
    import pandas as pd

TITLE, PLACE = "Devices: a model, not measured", 60
TEXT = (
    "Nothing here was timed on a device. Each client's own multiply-adds and bytes, as counted in the run, are divided "
    "by the rates below, times a straggler's factor that is drawn; energy is power times those times."
)
PARTS = ("download", "compute", "upload")
_SPENT, _LOST = ["modelled_seconds", "modelled_joules"], ["modelled_late", "modelled_dropouts"]


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields the groups' figures, the rates that were assumed, accuracy over time, and what an action consists of."""
    on_devices = {name: [run for run in runs if "modelled" in run.summary] for name, runs in shown.variants.items()}
    if shown.scored and (variants := {name: runs for name, runs in on_devices.items() if runs}):
        yield from (groups(variants), assumed(variants), over_time(variants), actions(variants))


def over_time(variants: Variants) -> Panel:
    """Accuracy of the global model over the modelled time of the rounds so far."""
    import pandas as pd

    data, rows = [], []
    for index, (name, runs) in enumerate(variants.items()):
        if frames := [_spent(run.rounds) for run in runs if "modelled_seconds" in run.rounds]:
            curve = pd.concat(frames).groupby("round").mean()
            tested = curve.dropna(subset="accuracy")
            hover = [f"round {int(n)}" for n in tested.index]
            data.append(line(name, index, tested[_SPENT[0]], tested["accuracy"], text=hover))
            rows += [
                (
                    name,
                    f"{row['round']:g}",
                    number(row["accuracy"]),
                    *(_amount(row[column]) for column in _SPENT),
                    *(f"{row[column]:g}" for column in _LOST),
                )
                for row in curve.reset_index().to_dict("records")
            ]
    columns = ("variant", "round", "global accuracy", "modelled s so far", "modelled J so far", "late", "dropped out")
    return Panel(
        "Global accuracy over modelled time",
        "A round lasts until the last client that the server waits for. Means over seeds.",
        plotted(data, axes("modelled seconds", "global accuracy")),
        TextTable("Modelled time and energy so far", columns, tuple(rows)),
    )


def _spent(rounds: pd.DataFrame) -> pd.DataFrame:
    """Returns accuracy, what was spent so far, and what was lost in each round."""
    frame = rounds[["round", "accuracy", *_SPENT, *_LOST]].astype(float).fillna(dict.fromkeys(_SPENT + _LOST, 0.0))
    frame[_SPENT] = frame[_SPENT].cumsum()
    return frame


def actions(variants: Variants) -> Panel:
    """What an action of each group consists of."""
    means = {
        label(variants, variant, group): [float(_column(rows, f"modelled_{part}_seconds").mean()) for part in PARTS]
        for variant, runs in variants.items()
        for group, rows in by_group(runs)
    }
    bars = {name: values for name, values in means.items() if all(map(isfinite, values))}
    rows = tuple((name, *map(_amount, values), _amount(sum(values))) for name, values in bars.items())
    parts = dict(zip(PARTS, zip(*bars.values(), strict=True), strict=True)) if bars else {}
    return Panel(
        "Modelled time of an action",
        "The mean over clients and rounds; a straggler takes longer.",
        stacked(list(bars), parts, "modelled seconds"),
        TextTable("Modelled seconds of an action, mean", ("group", *PARTS, "all"), rows),
        150 + 34 * len(bars),
    )


def groups(variants: Variants) -> TextTable:
    """What the groups' devices took."""
    rows = []
    for variant, runs in variants.items():
        devices = _devices(runs[0])
        for group, taken in by_group(runs):
            if group in devices:
                seconds, joules = (_column(taken, f"modelled_{unit}") for unit in ("seconds", "joules"))
                amounts = (seconds.mean(), seconds.max(), joules.mean(), joules.sum() / len(runs))
                rows.append(
                    (
                        label(variants, variant, group),
                        devices[group],
                        str(len(taken)),
                        *(_amount(float(amount)) for amount in amounts),
                        *(str(int((taken["status"] == status).sum())) for status in (LATE, DROPPED_OUT)),
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


def assumed(variants: Variants) -> TextTable:
    """The rates of the devices, all of which are assumed."""
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


def _amount(value: float) -> str:
    """Returns seconds or joules with the digits that a model is worth."""
    return "-" if value != value else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

"""A model of devices: what a client's work would take on a phone, in seconds and joules. Nothing here is measured.

An action takes a download, a computation and an upload, one after the other:

    bytes down / downlink rate + multiply-adds / compute rate + bytes up / uplink rate,

all times a straggler's factor exp(spread N(0, 1)) that is drawn for each client and round. Its energy is the power of
each part times its time. Multiply-adds are those that the client really made (`training.work`), bytes those of the
contents in the ledger; envelopes, whose length depends on the engine, are left out, so that an engine changes nothing.
A round takes as long as the slowest client that the server waits for. The server's own work and idling are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp
from typing import TYPE_CHECKING, Any

from fedcompress.rows import ClientRow
from fedcompress.scenario import Scenario
from fedcompress.scenario.sections import DeviceSettings

if TYPE_CHECKING:
    from fedcompress.groups import ClientInfo

DROPPED_OUT, LATE = "dropped out", "late"
"""Status of a contribution that is lost in the model alone."""
ABOUT = "from a model of the devices, not measured"


def _lte(down: float, up: float) -> dict[str, float]:
    """Returns an LTE radio at rates in Mbit/s. Its power is assumed: 1.3 W, and 0.05 and 0.45 W per Mbit/s."""
    return {
        "downlink_bits_per_second": down * 1e6,
        "uplink_bits_per_second": up * 1e6,
        "downlink_watts": round(1.3 + 0.05 * down, 2),
        "uplink_watts": round(1.3 + 0.45 * up, 2),
    }


def _wifi(down: float, up: float) -> dict[str, float]:
    """Likewise for Wi-Fi, assumed: 0.15 W, and 0.15 and 0.3 W per Mbit/s."""
    return {
        "downlink_bits_per_second": down * 1e6,
        "uplink_bits_per_second": up * 1e6,
        "downlink_watts": round(0.15 + 0.15 * down, 2),
        "uplink_watts": round(0.15 + 0.3 * up, 2),
    }


DEVICES: Mapping[str, DeviceSettings] = {
    "server": DeviceSettings(
        multiply_adds_per_second=1e12, downlink_bits_per_second=1e9, uplink_bits_per_second=1e9, compute_watts=200.0
    ),
    "laptop": DeviceSettings(
        multiply_adds_per_second=5e10, **_wifi(20, 20), compute_watts=20.0, spread=0.2, dropout=0.01
    ),
    "phone-high": DeviceSettings(
        multiply_adds_per_second=1e10, **_lte(13, 6), compute_watts=3.0, spread=0.3, dropout=0.05
    ),
    "phone-low": DeviceSettings(
        multiply_adds_per_second=1e9, **_lte(3, 1), compute_watts=2.0, spread=0.5, dropout=0.08
    ),
    "single-board": DeviceSettings(
        multiply_adds_per_second=2e9, **_wifi(10, 10), compute_watts=4.0, spread=0.2, dropout=0.01
    ),
    "microcontroller": DeviceSettings(
        multiply_adds_per_second=2e7, **_wifi(1, 1), compute_watts=0.3, spread=0.1, dropout=0.05
    ),
}
"""Devices that a scenario can name.

All figures are assumptions, round and of the right order of magnitude: computing rates, watts, spreads, drop-out and
the rates of links. The one exception is the LTE rates of `phone-high`, 13 Mbit/s down and 6 up: the medians that Huang
et al. 2012 report ("A close examination of performance and power characteristics of 4G LTE networks", MobiSys,
abstract). For a claim about a device, measure it and write its figures under `[devices]`.
"""


@dataclass(frozen=True)
class Modelled:
    """What one action takes on a client's device, as modelled.

    Attributes:
        download: Seconds.
        compute: Seconds.
        upload: Seconds.
        joules: Energy of the three.
        problem: `DROPPED_OUT`, `LATE`, or None where the contribution arrives.
    """

    download: float
    compute: float
    upload: float
    joules: float
    problem: str | None = None

    @property
    def seconds(self) -> float:
        """From the request to the last byte of the reply."""
        return self.download + self.compute + self.upload

    @property
    def reason(self) -> str:
        """Why the contribution does not arrive."""
        return f"the device {'is gone' if self.problem == DROPPED_OUT else f'takes {self.seconds:.3g} s'} ({ABOUT})"

    def row(self) -> dict[str, float]:
        """Returns the columns of `clients.jsonl`; a device that is gone has none."""
        if self.problem == DROPPED_OUT:
            return {}
        return {
            "modelled_seconds": self.seconds,
            "modelled_download_seconds": self.download,
            "modelled_compute_seconds": self.compute,
            "modelled_upload_seconds": self.upload,
            "modelled_joules": self.joules,
        }


class DeviceModel:
    """The devices of a run's groups; draws depend on seed, round and client alone, so they repeat on any engine."""

    def __init__(self, scenario: Scenario) -> None:
        known = {**DEVICES, **scenario.devices}
        self._seed, self._deadline = scenario.seed, scenario.server.deadline
        self._devices = {group.name: known[group.device] for group in scenario.groups if group.device is not None}

    def action(
        self, client: ClientInfo, round_number: int, multiply_adds: float, bytes_down: int, bytes_up: int
    ) -> Modelled | None:
        """Returns what an action takes; None if the client's group has no device."""
        device = self._devices.get(client.group)
        if device is None:
            return None
        from fedcompress.seeding import generator  # which imports numpy, and `fedcompress list` answers at once

        rng = generator(self._seed, round_number, client.partition, "device")
        gone, factor = rng.random() < device.dropout, exp(device.spread * rng.normal())
        download = factor * 8 * bytes_down / device.downlink_bits_per_second
        compute = factor * multiply_adds / device.multiply_adds_per_second
        upload = factor * 8 * bytes_up / device.uplink_bits_per_second
        joules = download * device.downlink_watts + compute * device.compute_watts + upload * device.uplink_watts
        late = self._deadline is not None and download + compute + upload > self._deadline
        return Modelled(download, compute, upload, joules, DROPPED_OUT if gone else LATE if late else None)

    def may_miss(self, group: str) -> bool:
        """Says whether contributions of a group's clients may not arrive."""
        device = self._devices.get(group)
        return device is not None and (device.dropout > 0 or self._deadline is not None)

    def waited(self, actions: Iterable[Modelled | None]) -> float:
        """Returns how long the server waits for actions that run side by side: for the last one that arrives, and for
        the deadline, if there is one, as soon as one does not."""
        known = [action for action in actions if action is not None]
        if self._deadline is not None and any(action.problem for action in known):
            return self._deadline
        return max((action.seconds for action in known if action.problem is None), default=0.0)


@dataclass
class ModelledTotals:
    """Sums over rows of `clients.jsonl`."""

    joules: float = 0.0
    late: int = 0
    dropouts: int = 0
    groups: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, rows: Iterable[ClientRow]) -> None:
        """Adds rows of `clients.jsonl`."""
        for row in rows:
            self.late += row["status"] == LATE
            self.dropouts += row["status"] == DROPPED_OUT
            if row.get("modelled_seconds") is None:
                continue
            group = self.groups.setdefault(row["group"], {"actions": 0, "seconds": 0.0, "joules": 0.0})
            group["actions"] += 1
            group["seconds"] += row["modelled_seconds"]
            group["joules"] += row["modelled_joules"]
            self.joules += row["modelled_joules"]

    def round(self, seconds: float) -> dict[str, float]:
        """Returns the columns of `rounds.jsonl`, of the sums over one round; nothing without devices."""
        if not (self.groups or self.dropouts):
            return {}
        return {
            "modelled_seconds": seconds,
            "modelled_joules": self.joules,
            "modelled_late": self.late,
            "modelled_dropouts": self.dropouts,
        }

    def table(self, seconds: float) -> dict[str, Any]:
        """Returns the part of `summary.json`, of the sums over a run; a group's seconds are the mean of an action."""
        groups = {name: {**g, "seconds": g["seconds"] / g["actions"]} for name, g in self.groups.items()}
        return {
            "about": ABOUT,
            "seconds": seconds,
            "joules": self.joules,
            "late": self.late,
            "dropouts": self.dropouts,
            "groups": groups,
        }

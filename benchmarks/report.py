"""What every benchmark prints: the machine, tables, and what was asked beside what was measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from fedcompress.results.run.provenance import vectors

PACKAGES = ("fedcompress", "tensorflow", "tf_keras", "tensorflow-model-optimization", "flwr", "ray", "numpy")

_terminal = Console(highlight=False)
console = _terminal if _terminal.is_terminal else Console(highlight=False, width=140)
"""A table that goes to a file is not cut to the width of a terminal that nobody sees."""


def machine() -> dict[str, Any]:
    """Returns processor, cores, memory and load, and the versions of what takes part."""
    lines = _lines("/proc/cpuinfo")
    models = [line for line in lines if line.startswith("model name")]
    total = [line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "vectors": vectors(),
        "cores": os.cpu_count(),
        "memory_mib": int(total[0].split()[1]) // 1024 if total else None,
        "load_at_start": load(),
        "python": platform.python_version(),
        "versions": {name: _installed(name) for name in PACKAGES},
    }


def processor_of(found: Mapping[str, Any]) -> str:
    """Returns the name of a `machine()`'s processor, and its vectors where they are known."""
    return f"{found['processor']}{f' with {vectors}' if (vectors := found.get('vectors')) else ''}"


def load() -> float:
    """Returns how many processes have been running or waiting for a core in the last minute, on average."""
    return os.getloadavg()[0]


def print_machine() -> dict[str, Any]:
    """Prints a line on the machine, warns of other work on it, and returns `machine()`."""
    found = machine()
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items() if number)
    console.print(f"{processor_of(found)}, {found['cores']} cores, {found['memory_mib']} MiB, {found['system']}")
    console.print(f"Python {found['python']}, {versions}")
    if found["load_at_start"] > 0.5:
        console.print(
            f"[yellow]Load is {found['load_at_start']:.1f}: other work makes these times unreliable.[/yellow]"
        )
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Asked:
    """A demand and the measurements that answer it.

    Attributes:
        what: What is measured.
        values: One measurement per pair; their median counts.
        limit: The bound.
        at_least: Whether the bound is a lower one.
    """

    what: str
    values: Sequence[float]
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the median keeps the bound."""
        return median(self.values) >= self.limit if self.at_least else median(self.values) <= self.limit

    def row(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {**asdict(self), "median": median(self.values), "met": self.met}


def print_asked(asked: Sequence[Asked]) -> None:
    """Prints what was asked beside what was measured."""
    table = Table("asked", title="Asked and measured", title_justify="left")
    for column in ("wanted", "median", "min", "max", "runs", "met"):
        table.add_column(column, justify="right")
    for one in asked:
        wanted = f"{'≥' if one.at_least else '≤'} {one.limit:g}"
        figures = [f"{value:.3g}" for value in (median(one.values), min(one.values), max(one.values))]
        met = "[green]yes[/green]" if one.met else "[red]no[/red]"
        table.add_row(one.what, wanted, *figures, str(len(one.values)), met)
    console.print(table)


def write(path: Path | None, table: dict[str, Any]) -> None:
    """Writes results as JSON, if a file was named."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")

"""The figures of a chain as a table, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedcompress.fitted_table import FittedTable
from fedcompress.recipes.generate.folder import Row
from fedcompress.units import number, size


def _microseconds(value: float) -> str:
    return f"{value:,.0f} us"


def _count(value: int) -> str:
    return f"{value:,}"


COLUMNS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "accuracy_score": ("score", number),
    "int8_score": ("int8 score", number),
    "kernel_distance": ("kernel", lambda value: f"{value:.3g}"),
    "frechet_distance": ("Frechet", lambda value: f"{value:.3g}"),
    "parameters": ("weights", _count),
    "float32_bytes": ("float32", size),
    "packed_bytes": ("packed", size),
    "tflite_bytes": ("TFLite", size),
    "int8_bytes": ("int8", size),
    "multiply_adds": ("mult.-adds", _count),
    "latency_us": ("latency", _microseconds),
    "int8_latency_us": ("int8 latency", _microseconds),
    "epsilon": ("epsilon", lambda value: str(value)),
}
"""Figure -> header and how it is written."""


def figure_rows(rows: Sequence[Row]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns headers and cells of the steps that have a generator; columns without a figure are left out."""
    shown = [{**row, "epsilon": _epsilon(row)} for row in rows if "accuracy_score" in row]
    present = [key for key in COLUMNS if any(row.get(key) is not None for row in shown)]
    cells = [(row["step"], *(_cell(key, row.get(key)) for key in present)) for row in shown]
    return ["step", *(COLUMNS[key][0] for key in present)], cells


def _cell(key: str, value: Any) -> str:
    return "-" if value is None else COLUMNS[key][1](value)


def _epsilon(row: Row) -> str | None:
    """Returns the epsilon of the chain; behind one of a step alone it says so."""
    if row.get("epsilon_of_chain") is not None:
        return f"{row['epsilon_of_chain']:.3g}"
    return f"{row['epsilon_of_step']:.3g} (step)" if row.get("epsilon_of_step") is not None else None


def result_table(title: str, rows: Sequence[Row], privacy: Sequence[str]) -> FittedTable:
    """Returns the closing table."""
    columns, cells = figure_rows(rows)
    bad = [f"{row['step']}: {row['collapsed']}" for row in rows if row.get("collapsed")]
    return FittedTable(title, columns, cells, "\n".join([*privacy, *bad]))

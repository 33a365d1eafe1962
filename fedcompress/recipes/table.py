"""The table of a recipe: on a terminal, as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from fedcompress.fitted_table import FittedTable
from fedcompress.results.compare.statistics import SHARE, Interval
from fedcompress.results.run.directory import as_csv
from fedcompress.units import number, size

Row = dict[str, Any]
"""One model that came out, or one experiment that failed: column -> value."""

DETAILS = ("curve", "layer_sparsity", "confusion")
"""Parts of a row that are no column."""


def to_csv(rows: Sequence[Row]) -> str:
    """Returns all rows with all columns, a line for each seed."""
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in DETAILS))
    return as_csv(rows, columns)


def label(row: Row) -> str:
    """Returns what a row is of, seed apart."""
    return " ".join(filter(None, (row["experiment"], row["step"])))


def measured(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows of experiments that did not fail."""
    return [row for row in rows if "problem" not in row]


def problems(rows: Sequence[Row]) -> list[str]:
    """Returns which experiments failed, and why."""
    return [f"{row['experiment']}, seed {row['seed']}: {row['problem']}" for row in rows if "problem" in row]


def over_seeds(rows: Sequence[Row]) -> list[list[Row]]:
    """Returns the rows of each experiment and step, one for each seed, in the order of the recipe."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["experiment"], row["step"]), []).append(row)
    return list(groups.values())


def spread(rows: Sequence[Row], key: str, digits: int) -> str:
    """Returns the mean of a share over seeds, and half of its 95 % interval if there are several."""
    interval = Interval.of_known((row.get(key) for row in rows), SHARE)
    return interval.text(lambda value: number(value, digits)) if interval else "-"


def _of_seeds(groups: Sequence[Sequence[Row]]) -> list[str]:
    """Returns what is said of ±, where several seeds are measured."""
    seeds = sorted({len(group) for group in groups} - {1})
    if not seeds:
        return []
    several = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    return [f"± half of the 95 % interval over {several} seeds, in parentheses where it ends at 0 or 1"]


def result_table(title: str, rows: Sequence[Row]) -> FittedTable:
    """Returns the closing table, a row per experiment and step."""
    dense = dict.fromkeys(row["stays_dense"] for row in rows if "stays_dense" in row)
    groups = over_seeds(measured(rows))
    caption = [*_of_seeds(groups), *(f"stays dense: {text}" for text in dense), *problems(rows)]
    timed = any("tflite_bytes" in row for row in rows)
    columns = ["experiment", "bits", "sparsity", "train", "valid.", "test", "deflated", "weights"]
    columns += ["latency", "int8", "int8 test"] if timed else []
    cells = [_cells(group, timed=timed) for group in groups]
    failed = [f"{label(row)}, seed {row['seed']}: failed" for row in rows if "problem" in row]
    cells += [(name, *["-"] * (len(columns) - 1)) for name in failed]
    return FittedTable(title, columns, cells, "\n".join(caption))


def summary_table(title: str, rows: Sequence[Row]) -> FittedTable:
    """Returns a row per experiment and step: what the network is, what was done to it, and what came of it."""
    columns = ["data", "layers", "neurons", "method", "bits", "sparsity", "train", "valid.", "test", "size"]
    groups = over_seeds(measured(rows))
    note = "neurons: units, or filters, of each layer with weights; size: the .h5 file after deflate"
    caption = "\n".join([note, *_of_seeds(groups), *problems(rows)])
    return FittedTable(title, columns, [_summarised(group) for group in groups], caption)


def _summarised(group: Sequence[Row]) -> tuple[str, ...]:
    first = group[0]
    widths = str(first["layers"]).split()[1::2]
    method = " ".join(filter(None, (first["method"], first["step"])))
    figures = _cells(group, timed=False)[1:7]
    return (first["data"], str(len(widths)), "-".join(widths), method, *figures)


def _cells(group: Sequence[Row], *, timed: bool) -> tuple[str, ...]:
    first = group[0]
    return (
        label(first),
        str(first["bits"]),
        number(mean(row["sparsity"] for row in group), 3),
        *(spread(group, key, 3) for key in ("train", "validation", "test")),
        size(mean(row["deflated_bytes"] for row in group)),
        f"{first['parameters']:,}",
        *(_timed(group) if timed else ()),
    )


def _timed(group: Sequence[Row]) -> tuple[str, ...]:
    """Returns the columns of the TFLite files."""
    first = group[0]  # only the first seed is converted
    latency, int8 = first.get("latency_us"), first.get("int8_bytes")
    timed = "-" if latency is None else f"{latency:.0f} us"
    return timed, "-" if int8 is None else size(int8), spread([first], "int8_test", 3)

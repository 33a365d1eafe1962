"""The label distribution over clients: as a table and as bars in the terminal, and as a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.text import Text

from fedcompress.files import write_text
from fedcompress.fitted_table import FittedTable
from fedcompress.page.blocks import Panel, Section, TextTable
from fedcompress.page.figures import axes, filled, plotted
from fedcompress.page.shell import html
from fedcompress.units import counted

MOST_ROWS = 30
"""With more clients than this, the first `SHOWN` are listed and the others summed up."""

SHOWN = 20

MOST_LISTED = 100
"""Clients that the table of a page lists."""

SHADES = " ░▒▓█"
"""Examples of a class, relative to the client's largest: none, up to a quarter, a half, three quarters, all."""

MOST_CLASSES = 20
"""With more classes than this, there is no room for a column each."""

_PEOPLE = 5
"""People of a client that are named."""

LEAST_BAR = 8
"""Characters of the longest bar, beside shades of classes."""

EIGHTHS = " ▏▎▍▌▋▊▉█"

COLOURS = ("blue", "orange1", "green", "red", "purple", "yellow4", "magenta", "grey50", "cyan", "gold3")


def render_people(people: Sequence[Sequence[str]]) -> FittedTable:
    """Returns a table of whose examples each client holds, of some clients and of each some people."""
    shown = _shown(len(people))
    rows = [(str(client), str(len(names)), _some(names)) for client, names in enumerate(people[:shown])]
    if shown < len(people):
        rows.append((f"{len(people) - shown:,} more", str(sum(map(len, people[shown:]))), ""))
    return FittedTable("Whose examples each client holds", ("client", "people", "who"), rows)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _PEOPLE:,} more" if len(names) > _PEOPLE else ""
    return f"{', '.join(names[:_PEOPLE])}{more}"


def render_table(distribution: NDArray[np.int64], names: Sequence[str] | None = None) -> FittedTable:
    """Returns a table with a row per client: examples of each class, and in all.

    Args:
        distribution: (clients, classes) numbers of examples.
        names: Of the classes; their numbers by default.
    """
    clients, classes = distribution.shape
    if classes > MOST_CLASSES:
        return _class_counts(distribution)
    columns = ["client", *(names or map(str, range(classes))), "examples"]
    shown = _shown(clients)
    rows: list[tuple[Text | str, ...]] = [
        (str(client), *(f"{count:,}" if count else "·" for count in row), f"{row.sum():,}")
        for client, row in enumerate(distribution[:shown])
    ]
    if shown < clients:
        rest = distribution[shown:]
        sizes = rest.sum(axis=1)
        means = [f"{mean:,.1f}" for mean in rest.mean(axis=0)]
        sizes_said = f"{sizes.mean():,.1f} ({sizes.min():,} to {sizes.max():,})"
        rows.append((f"{len(rest):,} more, mean", *means, sizes_said))
    rows.append(_all([f"{total:,}" for total in distribution.sum(axis=0)], distribution))
    return FittedTable(f"Examples of {counted(clients, 'client')} by class", columns, rows)


def _all(totals: Sequence[str], distribution: NDArray[np.int64]) -> tuple[Text, ...]:
    """Returns the row of all clients."""
    return tuple(Text(text, "bold") for text in ("all", *totals, f"{distribution.sum():,}"))


def _class_counts(distribution: NDArray[np.int64]) -> FittedTable:
    """Returns a table of how many classes each client holds, where there are too many for a column each."""
    clients, classes = distribution.shape
    classes_of, sizes = (distribution > 0).sum(axis=1), distribution.sum(axis=1)
    largest = distribution.max(axis=1)
    shown = _shown(clients)
    rows: list[tuple[Text | str, ...]] = [
        (str(client), str(classes_of[client]), f"{largest[client]:,}", f"{sizes[client]:,}") for client in range(shown)
    ]
    if shown < clients:
        means = [f"{of[shown:].mean():,.1f}" for of in (classes_of, largest, sizes)]
        rows.append((f"{clients - shown:,} more, mean", *means))
    rows.append(_all([str(int((distribution.sum(axis=0) > 0).sum())), ""], distribution))
    columns = ("client", "classes", "largest class", "examples")
    return FittedTable(
        f"Examples of {counted(clients, 'client')} and {counted(classes, 'class', 'classes')}", columns, rows
    )


def render_plot(distribution: NDArray[np.int64], width: int = 40, columns: int = 160) -> Group:
    """Returns a row per client: how its examples divide over the classes as shades, and how many they are as a bar.

    Args:
        distribution: (clients, classes) numbers of examples.
        width: Of the longest bar, in characters, if there is room.
        columns: Of the screen; shades of classes are left out if there is no room for them.
    """
    clients, classes = distribution.shape
    sizes = distribution.sum(axis=1)
    # Room for the class's number above its column, or none.
    cell = len(str(classes - 1)) + 1 if classes <= MOST_CLASSES else 1
    beside = len(f"{'client':>8} ") + len("  ") + len(f" {sizes.max():,}")
    if beside + cell * classes + LEAST_BAR > columns:
        cell = 1
    if beside + classes + LEAST_BAR > columns:
        classes = 0
    width = max(min(width, columns - beside - cell * classes), 1)
    header = "".join(f"{label:>{cell}}" for label in range(classes)) if cell > 1 else " " * classes
    lines = [Text(f"{'client':>8} {header}  examples", style="dim")]
    for client in range(_shown(clients)):
        line = Text(f"{client:>8} ")
        largest = max(distribution[client].max(), 1)
        for label, count in enumerate(distribution[client, :classes]):
            shade = SHADES[int(np.ceil(4 * count / largest))]
            line.append(f"{shade * max(cell - 1, 1):>{cell}}", COLOURS[label % len(COLOURS)])
        line.append(f"  {_bar(sizes[client] / max(sizes.max(), 1) * width)} {sizes[client]:,}")
        lines.append(line)
    if len(lines) <= clients:
        lines.append(Text(f"{'...':>8}  {clients - len(lines) + 1:,} more clients", style="dim"))
    return Group(*lines)


def write_plot(distribution: NDArray[np.int64], path: Path, names: Sequence[str] | None = None) -> None:
    """Writes a stacked bar per client to an HTML page that opens offline.

    Args:
        distribution: (clients, classes) numbers of examples.
        path: Of the page; its folder is created.
        names: Of the classes; their numbers by default.

    Raises:
        OSError: It cannot be written, or something else than a regular file is there.
    """
    clients, classes = distribution.shape
    numbers, labels = [str(client) for client in range(clients)], list(names or map(str, range(classes)))
    data = [
        {"type": "bar", "name": name, "x": list(range(clients)), "y": counts, "marker": filled(index)}
        for index, (name, counts) in enumerate(zip(labels, distribution.T.tolist(), strict=True))
    ]
    layout = axes("client", "examples", share=False, barmode="stack", bargap=0.1 if clients <= 100 else 0)
    note, table = "A bar per client, of its examples of each class.", label_table(distribution, numbers, labels)
    panel = Panel("Examples of each client", note, plotted(data, layout), table, 520)
    title = f"Examples of {counted(clients, 'client')} by class"
    write_text(path, html("fedcompress show", title, [Section("clients", title, [panel], heading=False)]))


def label_table(
    labels: Sequence[Sequence[int]] | NDArray[np.int64], clients: Sequence[str], classes: Sequence[str]
) -> TextTable:
    """Returns for each client, but at most 100 of them, how many examples of each class it has, and in all."""
    rows = tuple((name, *map(str, row), str(sum(row))) for name, row in zip(clients, labels, strict=True))
    table = TextTable("Examples of each class", ("client", *classes, "all"), rows)
    return table.cut(MOST_LISTED, f"The first {MOST_LISTED} of {len(rows)} clients.")


def _shown(clients: int) -> int:
    return clients if clients <= MOST_ROWS else SHOWN


def _bar(length: float) -> str:
    eighths = round(length * 8)
    return EIGHTHS[8] * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")

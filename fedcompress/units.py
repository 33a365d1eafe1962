"""Numbers and names as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len


def size(count: float | None) -> str:
    """Returns a number of bytes: `12.3 kB`."""
    if count is None or count != count:
        return "-"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.95 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def number(value: float | None, digits: int = 4) -> str:
    """Returns a fraction with fixed digits, `-` if there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Returns a count with its noun: `1 round`, `2 rounds`; `many` is the plural where that is not `one` with an s."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def duration(seconds: float) -> str:
    """Returns a time as a person reads it: `48 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def shortened(text: str, width: int) -> str:
    """Returns a text in at most so many columns of a terminal, without its middle, which tells less than its ends."""
    if cell_len(text) <= width:
        return text
    head, tail = text[: len(text) // 2][:width], text[len(text) // 2 :][-width:]
    while cell_len(head) + cell_len(tail) >= width:
        head, tail = (head[:-1], tail) if cell_len(head) >= cell_len(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def cut_list(numbers: Sequence[int], most: int = 10) -> str:
    """Returns numbers as a person lists them, the first of many.

    >>> cut_list([3, 5, 8], most=2)
    '3, 5, ...'
    """
    return ", ".join(map(str, numbers[:most])) + (", ..." if len(numbers) > most else "")

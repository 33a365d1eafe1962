"""Numbers as a person reads them."""

from __future__ import annotations


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

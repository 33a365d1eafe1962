"""Running text for a terminal: paragraphs, and names with what they mean."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from textwrap import dedent

_MOST_NAME = 24
"""Columns of the names, at most; a longer one has its meaning below."""
_INDENT = 4
_SECTIONS = ("Args:", "Attributes:", "Returns:", "Yields:", "Raises:")
"""Of docstrings."""


def wrapped(text: str, width: int | None, indent: int = 0, hanging: int = 0) -> str:
    """Returns a text, broken between words where lines would be longer; None leaves it in one line.

    Args:
        text: Of any lines.
        width: Columns.
        indent: Columns before it.
        hanging: Further ones before all lines but the first.
    """
    prefix = " " * indent
    if width is None:
        return prefix + " ".join(text.split())
    room = max(width, indent + 20)
    return textwrap.fill(
        text,
        room,
        initial_indent=prefix,
        subsequent_indent=prefix + " " * hanging,
        break_on_hyphens=False,
        break_long_words=False,
    )


def paragraphs(text: str, width: int | None) -> str:
    """Returns a docstring anew for another width: its sections are filled entry by entry, other text that is indented
    stays as it is, the rest is filled."""
    filled = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        if width is not None and lines and lines[0] in _SECTIONS:
            filled.append("\n".join([lines[0], *(wrapped(entry, width, 4, 4) for entry in _entries(lines[1:]))]))
            continue
        as_it_is = width is None or any(line.startswith((" ", "- ")) for line in lines)
        filled.append(paragraph if as_it_is else wrapped(" ".join(lines), width))
    return "\n\n".join(filled)


def _entries(lines: Sequence[str]) -> list[str]:
    """Returns what a section of a docstring lists; the lines of an entry but the first are indented further."""
    entries: list[str] = []
    for line in dedent("\n".join(lines)).splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line)
    return entries


def definitions(meanings: Mapping[str, str], width: int | None) -> str:
    """Returns a line for each name with its meaning behind it; in a terminal that is narrow, it goes on below."""
    column = 2 + min(max(map(len, meanings), default=0), _MOST_NAME)
    lines = []
    for name, meaning in meanings.items():
        if width is not None and width < 2 * column:
            lines += [name, *([wrapped(meaning, width, _INDENT)] if meaning else [])]
            continue
        below = len(name) + 2 > column
        text = wrapped(meaning, width, column)
        lines += [name, text] if below and meaning else [f"{name:{column}}{text[column:]}".rstrip()]
    return "\n".join(lines)

"""Running text for a terminal: paragraphs, and names with what they mean."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

_MOST_NAME = 24
"""Columns of the names, at most; a longer one has its meaning below."""
_INDENT = 4


def wrapped(text: str, width: int | None, indent: int = 0) -> str:
    """Returns a text, broken between words where lines would be longer; None leaves it in one line."""
    prefix = " " * indent
    if width is None:
        return prefix + " ".join(text.split())
    room = max(width, indent + 20)
    return textwrap.fill(
        text, room, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False, break_long_words=False
    )


def paragraphs(text: str, width: int | None) -> str:
    """Returns a docstring anew for another width: what is indented in it stays as it is, the rest is filled."""
    filled = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        as_it_is = width is None or any(line.startswith((" ", "- ")) for line in lines)
        filled.append(paragraph if as_it_is else wrapped(" ".join(lines), width))
    return "\n\n".join(filled)


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

"""What a page consists of: sections of blocks, each of which `templates/page.html` knows how to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

Tone = Literal["", "good", "bad", "noise"]


@dataclass(frozen=True)
class TextTable:
    """A table as text; the first column is a name.

    Attributes:
        title: Above it, and what a screen reader says.
        columns: Headers; none for a list of names and what belongs to them.
        rows: A cell for each column.
        caption: Below it.
        style: "figures" to the right, "text" that wraps, or the lines of a "log".
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    style: str = "figures"

    def cut(self, most: int, caption: str) -> TextTable:
        """Returns it with at most so many rows, and with a caption if that leaves some out."""
        return self if len(self.rows) <= most else replace(self, rows=self.rows[:most], caption=caption)


@dataclass(frozen=True)
class Panel:
    """A plot with its numbers.

    Attributes:
        title: Short; also what a screen reader says.
        note: How to read it.
        figure: `data` and `layout` for plotly: see `page.figures`.
        table: The numbers.
        height: Of the plot, in pixels.
    """

    title: str
    note: str
    figure: Mapping[str, Any]
    table: TextTable
    height: int = 340


@dataclass(frozen=True)
class Picture:
    """A PNG file as base64, with what was measured of it."""

    title: str
    png: str
    figures: TextTable


@dataclass(frozen=True)
class Finding:
    """A sentence that says what came out, and the class of its colour."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Findings:
    """What came out."""

    items: Sequence[Finding]


@dataclass(frozen=True)
class Tiles:
    """Figures in large type: (what, figure, remark)."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Warnings:
    """What a reader has to know before believing the rest, and which runs are missing."""

    warnings: Sequence[str]
    missing: Sequence[str]


@dataclass(frozen=True)
class Text:
    """A paragraph, or text as it stands in a file."""

    text: str
    from_file: bool = False


@dataclass(frozen=True)
class Fold:
    """Blocks that a click unfolds."""

    title: str
    blocks: Sequence[Block]
    open: bool = False


Block = TextTable | Panel | Picture | Findings | Tiles | Warnings | Text | Fold


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        id: Its place in the page's address, without a colon: those with one are the page's own.
        title: Of the heading.
        blocks: From top to bottom; plots that follow each other stand side by side where there is room.
        text: What is said first.
        heading: Whether the title is seen; otherwise a screen reader says it.
    """

    id: str
    title: str
    blocks: Sequence[Block] = ()
    text: str = ""
    heading: bool = True


def has_content(block: Block) -> bool:
    """Says whether there is something in a plot or table to show."""
    return bool(block.figure["data"] if isinstance(block, Panel) else not isinstance(block, TextTable) or block.rows)


def grouped(blocks: Sequence[Block]) -> list[tuple[str, list[Block]]]:
    """Returns (kind, blocks) for each sequence of blocks of one kind."""
    return [(kind, list(alike)) for kind, alike in groupby(blocks, lambda block: type(block).__name__)]

"""Tables that fit the terminal: names fold, figures never break, and figures without room go into a block below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_GAP = 2
"""Columns between two columns."""
_LEAST_NAME = 8
"""Columns that a name gets in any case, if it is as long."""

Cell = str | Text


class FittedTable:
    """A table whose first column is a name and whose others are figures.

    Args:
        title: Above it.
        columns: Their headers.
        rows: A cell for each column.
        caption: Below it.
        words: Columns that hold words and not figures: to the left, and broken between words where room lacks.
    """

    def __init__(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        caption: str = "",
        words: Sequence[str] = (),
    ) -> None:
        self._title, self._columns, self._rows, self._caption = title, columns, rows, caption
        self._words = frozenset(words)

    @property
    def columns(self) -> Sequence[str]:
        """The headers."""
        return self._columns

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields title, blocks and caption."""
        if self._title:
            yield Text(self._title, "bold")
        for widths in self._layout(options.max_width):
            yield ""
            yield self._block(widths)
        if self._caption:
            yield ""
            yield Text(self._caption, "dim")

    def _block(self, widths: dict[int, int]) -> Table:
        """Returns some of the columns, each with its width."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for column, width in widths.items():
            left = column == 0 or self._columns[column] in self._words
            justify = "left" if left else "right"
            table.add_column(self._columns[column], width=width, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for row in self._rows:
            table.add_row(*(row[column] for column in widths))
        return table

    def _layout(self, width: int) -> Iterator[dict[int, int]]:
        """Yields for each block its columns, by number, and their widths: one block if there is any way."""
        name, *wide = [self._natural(column) for column in range(len(self._columns))]
        narrow = [self._narrowest(column) for column in range(1, len(self._columns))]
        for figures, least in ((wide, name), (narrow, name), (narrow, min(name, _LEAST_NAME))):
            room = width - sum(figures) - _GAP * len(figures)
            if room >= least:
                yield dict(enumerate([min(name, room), *figures]))
                return
        yield from self._blocks(width, name, narrow)

    def _blocks(self, width: int, name: int, figures: Sequence[int]) -> Iterator[dict[int, int]]:
        """Yields blocks with as many columns as there is room for beside the name."""
        least = min(name, max(width // 4, _LEAST_NAME))
        block: dict[int, int] = {}
        for column, figure in enumerate(figures, 1):
            if block and least + sum(block.values()) + figure + _GAP * (len(block) + 1) > width:
                yield self._named(block, width, name)
                block = {}
            block[column] = min(figure, max(width - _GAP - 1, 1))
        yield self._named(block, width, name)

    @staticmethod
    def _named(block: dict[int, int], width: int, name: int) -> dict[int, int]:
        """Returns a block with the names in front, which get all the room that is left."""
        return {0: max(min(name, width - sum(block.values()) - _GAP * len(block)), 1), **block}

    def _natural(self, column: int) -> int:
        """Returns the width in which nothing of a column is broken."""
        return max(cell_len(str(text)) for text in [self._columns[column], *(row[column] for row in self._rows)])

    def _narrowest(self, column: int) -> int:
        """Returns the width in which headers and words, but no figures, are broken between words."""
        in_words = self._columns[column] in self._words
        cells = [str(row[column]) for row in self._rows]
        texts = [
            *self._columns[column].split(),
            *(word for cell in cells for word in (cell.split() if in_words else [cell])),
        ]
        return max(map(cell_len, texts), default=1)

"""The tables of `fedcompress compare`."""

from __future__ import annotations

from collections.abc import Iterable

from fedcompress.page.blocks import Block
from fedcompress.results.compare.tables import text_tables
from fedcompress.results.report.shown import Shown

TITLE, PLACE = "Comparison", 10


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields the tables, unless there is only one run."""
    return text_tables(shown.comparison) if len(shown.runs) > 1 else ()

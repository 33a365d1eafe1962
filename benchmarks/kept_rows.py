"""Pages of results that keep the rows that they are written from: what takes longer than a machine is there adds up.

A page ends with a section `Rows`, a line of JSON for each run. The command that writes it takes those in, gives way to
what was measured anew, and writes all of them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
_HEADING = "## Rows"
_OPENS, _CLOSES = "```json\n", "\n```"


def rows_in(page: Path) -> list[Row]:
    """Returns the rows that a page keeps; none of a page that is not there."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    _, _, below = text.partition(f"\n{_HEADING}\n")
    lines = below.partition(_OPENS)[2].partition(_CLOSES)[0].splitlines()
    return [json.loads(line) for line in lines]


def together(before: Iterable[Row], now: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """Returns the rows of both, each once: of those that have the same under all keys, the last.

    >>> together([{"seed": 1, "score": 0.5}, {"seed": 2, "score": 0.6}], [{"seed": 1, "score": 0.7}], ["seed"])
    [{'seed': 1, 'score': 0.7}, {'seed': 2, 'score': 0.6}]
    """
    return list({json.dumps([row.get(key) for key in keys]): row for row in [*before, *now]}.values())


def section(rows: Iterable[Row]) -> str:
    """Returns the section that keeps rows, to be put at the end of a page."""
    lines = "\n".join(json.dumps(row) for row in rows)
    return f"\n{_HEADING}\n\nWhat this page is written from, a line for each run.\n\n{_OPENS}{lines}{_CLOSES}\n"

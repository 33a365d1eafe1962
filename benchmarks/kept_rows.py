"""Pages of results that keep the rows that they are written from: what takes longer than a machine is there adds up.

A page ends with a section `Rows`, a line of JSON for each run. The command that writes it takes those in, gives way to
what was measured anew, and writes all of them again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
_HEADING = "## Rows"
_OPENS, _CLOSES = "```json\n", "\n```"


def rows_in(page: Path) -> list[Row]:
    """Returns the rows that a page keeps; none of a page that is not there.

    Raises:
        SystemExit: It keeps none, or they cannot be read: written anew, it would lose what others have measured.
    """
    if not page.exists():
        return []
    _, heading, below = page.read_text(encoding="utf-8").partition(f"\n{_HEADING}\n")
    _, opened, lines = below.partition(_OPENS)
    rows, closed, _ = lines.partition(_CLOSES)
    try:
        if not (heading and opened and closed):
            raise ValueError(f"no whole section {_HEADING!r}")
        return [json.loads(line) for line in rows.splitlines()]
    except ValueError as error:
        sys.exit(f"{page}: keeps no rows that can be read ({error}); put it back, or remove it to begin anew.")


def together(before: Iterable[Row], now: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """Returns the rows of both, each once: of those that have the same under all keys, the last.

    >>> together([{"seed": 1, "score": 0.5}, {"seed": 2, "score": 0.6}], [{"seed": 1, "score": 0.7}], ["seed"])
    [{'seed': 1, 'score': 0.7}, {'seed': 2, 'score': 0.6}]
    """
    return list({json.dumps([row.get(key) for key in keys], sort_keys=True): row for row in [*before, *now]}.values())


def section(rows: Iterable[Row]) -> str:
    """Returns the section that keeps rows, to be put at the end of a page."""
    lines = "\n".join(json.dumps(row) for row in rows)
    return f"\n{_HEADING}\n\nWhat this page is written from, a line for each run.\n\n{_OPENS}{lines}{_CLOSES}\n"

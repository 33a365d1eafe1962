"""Reading the files of a run: one clear error where they are damaged, or are something else.

Nothing is validated against today's scenario keys, so that runs of other versions can be read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcompress.errors import InputError
from fedcompress.files import read_text
from fedcompress.rows import RoundRow
from fedcompress.wire.ledger import Transfer

if TYPE_CHECKING:
    import pandas as pd

EXPECTED = "expected the directory of a run or a sweep, made by fedcompress run"
Wanted = Mapping[str, type | tuple[type, ...]]
_NUMBER = (int, float)

SUMMARY: Wanted = {
    **dict.fromkeys(("seed", "rounds", "seconds", "uplink_bytes", "downlink_bytes"), _NUMBER),
    **dict.fromkeys(("dense_uplink_bytes", "dense_downlink_bytes"), _NUMBER),
    **dict.fromkeys(("bytes_by_content", "groups"), dict),
    **dict.fromkeys(("scenario", "status"), str),
}
PROVENANCE: Wanted = {"versions": dict, "machine": dict, "command": list, "engine": str}
BEGUN: Wanted = dict.fromkeys(("engine", "start", "scenario_digest", "data_digest", "plugins_digest"), str)
SCENARIO: Wanted = {"data": dict, "groups": list, "rounds": int}
FEDERATION: Wanted = {"groups": list, "labels": list}
"""What these files have to hold, by key; other keys may be absent."""

_TEXTS = ("action", "group", "status", "error", "direction", "content")
_MEASURED_LATER = (
    *("validation_accuracy", "deployed_accuracy", "deployed_validation_accuracy", "deployed_worst"),
    *("personal_accuracy", "personal_worst10", "own_accuracy", "own_worst10"),
)
"""Figures of `rounds.jsonl` that earlier versions did not write: NaN in their tables."""
_LATER = {*_MEASURED_LATER, "events", "groups"}
"""Columns of `rounds.jsonl` that may be absent."""
_COLUMNS: Mapping[str, Collection[str]] = {
    "rounds": [name for name in RoundRow.__annotations__ if name in RoundRow.__required_keys__ - _LATER],
    "clients": ("round", "action", "client", "group", "accuracy", "sparsity_target", "sparsity", "status", "error"),
    "ledger": [field.name for field in fields(Transfer)],
}
"""What tables have, without a row as well: numbers, but for texts."""


def checked(path: Path, table: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    """Returns the table of a file if it holds what is wanted.

    Raises:
        InputError: It does not.
    """
    if wrong := [key for key, kind in wanted.items() if not isinstance(table.get(key), kind)]:
        raise InputError(f"{path}: lacks {', '.join(wrong)}, or has another type there; {EXPECTED}.")
    return table


def read_rows(path: Path, *, cut_off: bool) -> pd.DataFrame:
    """Returns one of the tables of a run.

    What a round measured of a group is a column of its own: `groups.watch.deployed_accuracy`.

    Args:
        path: `rounds.jsonl`, `clients.jsonl` or `ledger.jsonl`.
        cut_off: Whether the last line may be unfinished, which then does not count: of a run that was killed it is.

    Raises:
        InputError: The file is absent or damaged.
    """
    import pandas as pd

    try:
        *lines, last = read_text(path).split("\n")
        rows = json.loads(f"[{','.join(lines)}]")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {EXPECTED}.") from None
    if last and not cut_off:
        raise InputError(f"{path}: ends within a line, though the run is completed: it was cut off.")
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: holds lines that are no rows; {EXPECTED}.")
    columns: Collection[str] = _COLUMNS[path.stem]
    of_groups: Collection[str] = ()
    if path.stem == "rounds":
        rows, of_groups = _tidy(path, rows)
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))
    if lacking := [column for column in columns if column not in table]:
        raise InputError(f"{path}: lacks {', '.join(lacking)}; {EXPECTED}.")
    if path.stem == "rounds":
        table = table.reindex(columns=list(dict.fromkeys([*table.columns, *_MEASURED_LATER])))
        columns = [*columns, *_MEASURED_LATER, *of_groups]
    for column in columns:
        if column not in _TEXTS:
            try:
                table[column] = pd.to_numeric(table[column])
            except (TypeError, ValueError) as error:
                raise InputError(f"{path}: {column} is no number ({error}); {EXPECTED}.") from None
    return table


def of_group(name: str, figure: str) -> str:
    """Returns the column of `rounds` that holds a figure of a group."""
    return f"groups.{name}.{figure}"


def _tidy(path: Path, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Collection[str]]:
    """Returns rows of rounds with a column for each figure of each group, and these columns."""
    tidy, columns = [], dict[str, None]()
    for row in rows:
        groups = row.get("groups") or {}
        if not (isinstance(groups, dict) and all(isinstance(figures, dict) for figures in groups.values())):
            raise InputError(f"{path}: groups is no table of figures by group; {EXPECTED}.")
        figures = {of_group(name, key): value for name, of in groups.items() for key, value in of.items()}
        columns |= dict.fromkeys(figures)
        tidy.append({**{key: value for key, value in row.items() if key != "groups"}, **figures})
    return tidy, columns

"""csv: a table of your own with columns for label, client, and features or image paths: `dataset = "csv:FILE"`.

What differs from the usual names is said behind the file: `csv:FILE?label=kind&client=user&image=photo`. Keys are
`label`, `client`, `image` and `split` for columns, `test` for another file, `drop` for columns to leave out, `shape`
(28x28) for pixels in columns, `size` (32x32) to scale images.
"""

from __future__ import annotations

from collections.abc import Collection
from csv import reader
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ...units import counted
from ..own_tables import OwnTable

if TYPE_CHECKING:
    import pandas as pd


ENCODING = "utf-8-sig"
EMPTY = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
]
"""What pandas takes for an empty cell; of words only the first is."""


class Csv(OwnTable):
    """With a header; comma, semicolon or tab between columns."""

    kind = "csv"

    def header(self, name: str, path: Path) -> list[str]:
        import pandas as pd

        return [*pd.read_csv(path, sep=_separator(path), nrows=0, encoding=ENCODING, compression=None).columns]

    def read(self, name: str, path: Path, words: Collection[str]) -> pd.DataFrame:
        import pandas as pd

        _check_width(name, path)
        empty = {column: [""] if column in words else EMPTY for column in self.header(name, path)}
        return pd.read_csv(
            path,
            sep=_separator(path),
            encoding=ENCODING,
            compression=None,
            dtype=dict.fromkeys(words, str),
            keep_default_na=False,
            na_values=empty,
        )


def _separator(path: Path) -> str:
    with path.open(encoding=ENCODING) as file:
        first = file.readline()
    return max(",;\t", key=first.count)


def _check_width(name: str, path: Path) -> None:
    """Raises InputError if rows have more fields than the header: pandas takes the first for the rows' names."""
    with path.open(encoding=ENCODING, newline="") as file:
        lines = filter(None, reader(file, delimiter=_separator(path)))
        header, row = (len(next(lines, ())) for _ in range(2))
    if row > header:
        raise InputError(
            f"Data set {name!r}: rows of {path} have {counted(row, 'field')}, the header has {header}; expected a name "
            "for each column and no separator behind the last. R's write.table leaves out a name: use "
            "write.csv(..., row.names = FALSE)."
        )

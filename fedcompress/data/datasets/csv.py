"""csv: a table of your own with columns for label, client, and features or image paths: `dataset = "csv:FILE"`.

What differs from the usual names is said behind the file: `csv:FILE?label=kind&client=user&image=photo`. Keys are
`label`, `client`, `image` and `split` for columns, `test` for another file, `drop` for columns to leave out, `shape`
(28x28) for pixels in columns, `size` (32x32) to scale images.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..own_tables import OwnTable

if TYPE_CHECKING:
    import pandas as pd


class Csv(OwnTable):
    """With a header; comma, semicolon or tab between columns."""

    kind = "csv"

    def read(self, name: str, path: Path) -> pd.DataFrame:
        import pandas as pd

        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
        separator = max(",;\t", key=first.count)
        return pd.read_csv(path, sep=separator, encoding="utf-8-sig", compression=None)

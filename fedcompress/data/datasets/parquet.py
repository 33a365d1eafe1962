"""parquet: a table of your own as a Parquet file, with columns as those of `csv`: `dataset = "parquet:FILE"`."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ..own_tables import OwnTable

if TYPE_CHECKING:
    import pandas as pd


class Parquet(OwnTable):
    """Read by pandas with pyarrow, the extra `parquet`."""

    kind = "parquet"

    def header(self, name: str, path: Path) -> list[str]:
        if find_spec("pyarrow") is None:
            raise InputError(f'Data set {name!r} needs an extra: pip install "fedcompress[parquet]"')
        schema = import_module("pyarrow.parquet").read_schema(path)
        return [*map(str, schema.empty_table().to_pandas().columns)]

    def read(self, name: str, path: Path, words: Collection[str]) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(path)

"""parquet: a table of your own as a Parquet file, with columns as those of `csv`: `dataset = "parquet:FILE"`."""

from __future__ import annotations

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

    def read(self, name: str, path: Path) -> pd.DataFrame:
        import pandas as pd

        if find_spec("pyarrow") is None:
            raise InputError(f'Data set {name!r} needs an extra: pip install "fedcompress[parquet]"')
        return pd.read_parquet(path)

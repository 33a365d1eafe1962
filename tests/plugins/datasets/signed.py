"""signed: the digits of scikit-learn, each with one of 24 writers who is made up: the same one for every 24th digit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedcompress.data.dataset import DataRoots, Dataset, DatasetSource
from fedcompress.data.loading import load_dataset


class Signed(DatasetSource):
    def load(self, roots: DataRoots) -> Dataset:
        digits = load_dataset("digits", data_dir=roots.data_dir)
        return replace(digits, name="signed", client_ids=np.arange(len(digits.y_train)) % 24)

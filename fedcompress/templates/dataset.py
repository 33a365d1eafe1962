"""template-name: one line that `fedcompress list datasets` shows, with whose data it is.

A data set is four arrays, and perhaps whose each example is. Data that is a file of yours already needs no plug-in: see
`npz:FILE`, `csv:FILE` and `parquet:FILE`.
"""

from __future__ import annotations

import numpy as np

from fedcompress.data.dataset import DataRoots, Dataset, DatasetSource


class TemplateName(DatasetSource):
    """Noisy stripes of 8 x 8 pixels, lying or standing, by 20 people."""

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; `roots.folders(...)` says where its files may be, `roots.offline` forbids downloads."""
        rng = np.random.default_rng(0)  # the same examples on every machine
        labels = rng.integers(0, 2, 800)  # 0, 1, ..., classes - 1
        lying = np.broadcast_to((np.arange(8) % 2)[:, None], (8, 8))
        clean = np.where(labels[:, None, None] == 0, lying, lying.T)
        images = np.clip(clean + rng.normal(0, 0.5, (800, 8, 8)), 0, 1)  # or uint8 from 0 to 255
        return Dataset(
            name="template-name",
            x_train=images[:600],
            y_train=labels[:600],
            x_test=images[600:],
            y_test=labels[600:],
            classes=2,
            client_ids=rng.integers(0, 20, 600),  # whose each training example is, for partition = "natural"
        )

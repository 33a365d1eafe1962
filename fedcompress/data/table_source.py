"""Small data sets that an installed Python package carries as a table: one image and its label per line."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..errors import InputError
from ..seeding import SERVER, generator
from .dataset import DataRoots, Dataset, DatasetSource
from .formats import damaged, read_table
from .splits import holdout

TEST_FRACTION = 0.2


class TableSource(DatasetSource):
    """Base of data sets of ten digits in a package's table; a fixed, stratified fifth is the test set.

    The file is read without importing the package, which would take longer than everything else.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    """Import name."""
    distribution: ClassVar[str]
    """Name to install it by."""
    file: ClassVar[str]
    """Path of the table within the package."""
    side: ClassVar[int]
    """Height and width of an image in pixels."""
    brightest: ClassVar[int] = 255
    """Largest value of a pixel, scaled to 255."""

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        path = self._path(roots)
        table = read_table(path, self.side**2 + 1)
        images, labels = table[:, :-1].reshape(-1, self.side, self.side, 1), table[:, -1]
        if labels.max() > 9 or images.max() > self.brightest:
            raise damaged(path, "a label or pixel is too large", f"labels to 9, pixels to {self.brightest}")
        images = ((images * np.uint16(255) + self.brightest // 2) // self.brightest).astype(np.uint8)
        rng = generator(0, 0, SERVER, self.name)  # part of the data set, so not the run's seed
        rest, held_out = holdout(labels, TEST_FRACTION, rng)
        train, test = rng.permutation(rest), rng.permutation(held_out)
        return Dataset(self.name, images[train], labels[train], images[test], labels[test], 10)

    def _path(self, roots: DataRoots) -> Path:
        file = Path(self.file)
        spec = find_spec(self.package)
        packages = [Path(folder) / file.parent for folder in (spec and spec.submodule_search_locations) or ()]
        for folder in (*roots.given, *packages):
            if (folder / file.name).is_file():
                return folder / file.name
        places = ", ".join(map(str, roots.given + packages)) or f"the package {self.package}, which is not installed"
        raise InputError(
            f"Data set {self.name!r} is not here: looked for {file.name} in {places}. "
            f"Get it with: pip install {self.distribution}, or --data-dir DIR, where DIR holds {file.name}"
        )

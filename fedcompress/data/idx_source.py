"""MNIST and data sets that come in the same four IDX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from fedcompress.units import counted

from ..errors import InputError
from .dataset import DataRoots, Dataset, DatasetSource
from .fetch import Remote, fetch, not_found
from .formats import IDX_FILES, NPZ_ARRAYS, damaged, find_idx, read_idx, read_npz

FIRST_LABELS = {
    (5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7): "mnist",
    (9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9): "fashion-mnist",
}
"""Labels of the first training examples: tells data sets apart whose files have the same names."""


class IdxSource(DatasetSource):
    """Base of data sets of ten classes in four IDX files."""

    name: ClassVar[str]
    subfolders: ClassVar[tuple[str, ...]]
    """Names of the folder within a root, as other software lays it out."""
    known: ClassVar[tuple[Path, ...]] = ()
    """Where packages put it."""
    archive: ClassVar[str] = ""
    """Name of a NumPy archive that holds all of it (Keras), if there is one."""
    remotes: ClassVar[tuple[Remote, ...]]
    """Where to download the four files, in the order of `IDX_FILES`."""
    install: ClassVar[str]
    """How to get it without us."""

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        folders = roots.folders(*self.subfolders, known=self.known)
        for folder in folders:
            if files := find_idx(folder):
                return self._read(files)
            if self.archive and (folder / self.archive).is_file():
                x_train, y_train, x_test, y_test = read_npz(folder / self.archive, NPZ_ARRAYS)
                return self._named(Dataset(self.name, x_train, y_train, x_test, y_test, 10), folder)
        wanted = f"{IDX_FILES[0]}[.gz] and the like" + (f" or {self.archive}" if self.archive else "")
        folder = roots.cache / self.name
        fetch(self.remotes, folder, roots, not_found(self.name, wanted, folders, self.install))
        return self._read([folder / remote.file for remote in self.remotes])

    def _read(self, files: Sequence[Path]) -> Dataset:
        train, train_labels, test, test_labels = files
        x_train, x_test = read_idx(train, 3), read_idx(test, 3)
        y_train, y_test = read_idx(train_labels, 1), read_idx(test_labels, 1)
        for x, y, path in ((x_train, y_train, train_labels), (x_test, y_test, test_labels)):
            if len(x) != len(y):
                raise damaged(
                    path, f"it has {counted(len(y), 'label')} for {counted(len(x), 'image')}", "one label per image"
                )
        return self._named(Dataset(self.name, x_train, y_train, x_test, y_test, 10), train.parent)

    def _named(self, dataset: Dataset, folder: Path) -> Dataset:
        name = FIRST_LABELS.get(tuple(dataset.y_train[:16].tolist()), self.name)
        if name != self.name:
            raise InputError(
                f"{folder} holds {name!r}, asked for {self.name!r}; their files have the same names. "
                f"Put each into a folder of its own name."
            )
        return dataset

"""Any NumPy archive: `dataset = "npz:FILE"`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...files import is_file
from ..dataset import DataRoots, Dataset, DatasetSource
from ..formats import NPZ_ARRAYS, read_npz
from ..said import found

OWNERS = ("client_ids", "client_train")
"""Names of the array that says whose each training example is."""
AS_INTEGERS = "np.unique(y, return_inverse=True)[1]"
TEST_OWNERS = "client_test"
"""Name of the array that says whose each test example is."""


class Npz(DatasetSource):
    """From the arrays x_train, y_train, x_test and y_test of a file written by `np.savez`.

    Inputs and labels are as `Dataset` describes them, or labels of shape (n, 1). The labels must be exactly 0..k-1. An
    array client_ids or client_train, if there is one, says whose each training example is, and client_test the same of
    test examples.
    A relative FILE is looked for in the current folder, then in --data-dir and $FEDCOMPRESS_DATA_DIR.
    """

    argument_name = "FILE"

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        path = self._path(roots)
        x_train, y_train, x_test, y_test, *owners, of_test = read_npz(path, NPZ_ARRAYS, (*OWNERS, TEST_OWNERS))
        name = f"npz:{self.argument}"
        y_train, y_test = _as_labels(y_train), _as_labels(y_test)
        classes, of_train = _classes(name, y_train=y_train, y_test=y_test), _owners(name, owners)
        if of_test is not None and of_train is None:
            raise InputError(f"Data set {name!r} has the array {TEST_OWNERS}, but not {' or '.join(OWNERS)}.")
        return Dataset(name, x_train, y_train, x_test, y_test, classes, client_ids=of_train, test_client_ids=of_test)

    def fingerprint(self, roots: DataRoots) -> Hashable:
        """Returns the file's path, time and size."""
        path = self._path(roots).resolve()
        status = path.stat()
        return path, status.st_mtime_ns, status.st_size

    def _path(self, roots: DataRoots) -> Path:
        advice = "np.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"
        return found(f"npz:{self.argument}", self.argument, roots, is_file, advice)


def _as_labels(labels: NDArray[Any]) -> NDArray[Any]:
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _owners(name: str, arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    given = [array for array in arrays if array is not None]
    if len(given) > 1:
        raise InputError(f"Data set {name!r} has the arrays {' and '.join(OWNERS)}; expected one of them.")
    return given[0] if given else None


def _classes(name: str, **labels: NDArray[Any]) -> int:
    """Returns the number of classes, refusing labels with gaps: an unused output is most often a mistake."""
    if odd := [key for key, y in labels.items() if y.dtype.kind not in "iu" or y.ndim != 1]:
        y = labels[odd[0]]
        advice = "y.argmax(axis=1) of one-hot ones" if y.ndim == 2 else f"{AS_INTEGERS} of both arrays together"
        raise InputError(
            f"Data set {name!r}: {' and '.join(odd)} hold labels of {y.dtype}, shape {y.shape}; expected integers of "
            f"shape (n,), as {advice} makes them."
        )
    labels_used = np.unique(np.concatenate([*labels.values()]))
    if len(labels_used) < 2 or labels_used[0] != 0 or labels_used[-1] != len(labels_used) - 1:
        some = ", ".join(map(str, labels_used[:8])) + (", ..." if len(labels_used) > 8 else "")
        raise InputError(
            f"Data set {name!r} has the labels {some}; expected every one of 0, 1, ..., k-1 with k >= 2, as "
            f"{AS_INTEGERS} of both arrays together makes them."
        )
    return len(labels_used)

"""Any image classification data set of the Hugging Face hub: `dataset = "hf:NAME"`.

What differs from the usual names is said behind the name, as in an address: `hf:NAME?label=character&client=writer_id`.
Keys are `image`, `label` and `client` (whose example it is) for columns, `train` and `test` for splits, and `config`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..dataset import DataRoots, Dataset, DatasetSource
from ..said import parted

IMAGE_COLUMNS = ("image", "img", "images", "pixel_values", "x")
LABEL_COLUMNS = ("label", "labels", "fine_label", "y")
TEST_SPLITS = ("test", "validation", "valid")
KEYS = ("image", "label", "client", "train", "test", "config")
"""What may be said behind a name."""


class Table(Protocol):
    """What is needed of a split: the names of its columns, and each as a sequence."""

    @property
    def column_names(self) -> Sequence[str]:
        """Names of the columns."""

    def __getitem__(self, name: str, /) -> Iterable[Any]: ...


class HuggingFace(DatasetSource):
    """From the library `datasets`, which downloads it, or finds it in its own cache."""

    argument_name = "NAME[?KEY=VALUE&...]"

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        name = f"hf:{self.argument}"
        repository, said = parted(name, self.argument, KEYS)
        if find_spec("datasets") is None:
            raise InputError(f'Data set {name!r} needs an extra: pip install "fedcompress[hf]"')
        # The library reads these when it is imported; a later change has no effect.
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        if roots.offline:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        library = import_module("datasets")
        try:
            splits = library.load_dataset(repository, *([said["config"]] if "config" in said else []))
        except Exception as error:  # the library's errors have no common base
            raise InputError(f"Data set {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
        return convert(name, splits, said)


def convert(name: str, splits: Mapping[str, Table], said: Mapping[str, str] | None = None) -> Dataset:
    """Makes arrays of a training and a test split.

    Args:
        name: Of the data set.
        splits: "train" and one of `TEST_SPLITS`, each with a column of images of one size and one of integer labels.
        said: Names of columns and splits that are others than the usual ones, by `KEYS`.

    Raises:
        InputError: A split or a column is missing, or images differ in size.
    """
    said = said or {}
    train, tests = said.get("train", "train"), (said["test"],) if "test" in said else TEST_SPLITS
    test = next((split for split in tests if split in splits), None)
    if train not in splits or test is None:
        have = ", ".join(splits)
        expected = f"{train} and {'one of ' if len(tests) > 1 else ''}{', '.join(tests)}"
        raise InputError(f"Data set {name!r} has the splits {have}; expected {expected}.")
    x_train, y_train = _arrays(name, splits[train], said)
    x_test, y_test = _arrays(name, splits[test], said)
    owners, of_test = None, None
    if "client" in said:
        column = _column(name, splits[train], (said["client"],))
        owners = np.array([str(owner) for owner in splits[train][column]])
        if column in splits[test].column_names:
            of_test = np.array([str(owner) for owner in splits[test][column]])
    classes = int(max(y_train.max(), y_test.max(), 0)) + 1
    return Dataset(name, x_train, y_train, x_test, y_test, classes, client_ids=owners, test_client_ids=of_test)


def _arrays(name: str, table: Table, said: Mapping[str, str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    labels = np.array(list(table[_column(name, table, (said["label"],) if "label" in said else LABEL_COLUMNS)]))
    if labels.dtype.kind not in "iu" or not labels.size:
        raise InputError(f"Data set {name!r} has labels of {labels.dtype}; expected integers.")
    column = _column(name, table, (said["image"],) if "image" in said else IMAGE_COLUMNS)
    images = [_pixels(image) for image in table[column]]
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        some = ", ".join(map(str, shapes[:3]))
        raise InputError(f"Data set {name!r} has images of {len(shapes)} shapes ({some}); expected one shape.")
    return np.stack(images), labels.astype(np.int64)


def _column(name: str, table: Table, known: Sequence[str]) -> str:
    for column in known:
        if column in table.column_names:
            return column
    have = ", ".join(table.column_names)
    raise InputError(f"Data set {name!r} has the columns {have}; expected one of {', '.join(known)}.")


def _pixels(image: Any) -> NDArray[Any]:
    """Returns the pixels of an image object, an encoded one, an array or nested lists."""
    if isinstance(image, Mapping) and image.get("bytes"):  # of files that do not say what their columns are
        image = import_module("PIL.Image").open(BytesIO(image["bytes"]))
    if hasattr(image, "convert") and image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "I;16", "LA") else "RGB")
    pixels = np.asarray(image)
    if pixels.dtype.kind in "iu" and pixels.size and pixels.min() >= 0 and pixels.max() <= 255:
        return pixels.astype(np.uint8, copy=False)
    return pixels

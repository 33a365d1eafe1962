"""Any image classification data set of the Hugging Face hub: `dataset = "hf:NAME"`.

What differs from the usual names is said behind the name, as in an address: `hf:NAME?label=character&client=writer_id`.
Keys are `image`, `label` and `client` (whose example it is) for columns, `train` and `test` for splits, `config`, and
`size` (32x32) to scale images. Without a test split a stratified fifth is the test set, the same in each run. Labels
are integers, or words, which become 0, 1, ... in sorted order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..dataset import DataRoots, Dataset, DatasetSource
from ..image_files import pixels_of, scaled, stacked
from ..own_tables import fifth_held_out, numbered
from ..said import lengths, parted

IMAGE_COLUMNS = ("image", "img", "images", "pixel_values", "x")
LABEL_COLUMNS = ("label", "labels", "fine_label", "y")
TEST_SPLITS = ("test", "validation", "valid")
KEYS = ("image", "label", "client", "train", "test", "config", "size")
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
    """Makes arrays of a training and a test split, or of one split, whose stratified fifth is the test set.

    Args:
        name: Of the data set.
        splits: "train" and perhaps one of `TEST_SPLITS`, each with a column of images and one of labels.
        said: Names of columns and splits that are others than the usual ones, and a size, by `KEYS`.

    Raises:
        InputError: A split or a column is missing, images differ in size, or labels are neither integers nor words.
    """
    said = said or {}
    tables = [splits[split] for split in _splits(name, list(splits), said)]
    of_each = [_labels(name, table, said) for table in tables]
    if len({part.dtype.kind for part in of_each}) > 1:
        raise InputError(f"Data set {name!r} has labels that are words in one split and integers in the other.")
    labels, images = np.concatenate(of_each), stacked(name, [i for t in tables for i in _images(name, t, said)])
    begin = len(of_each[0])
    train, test = (slice(begin), slice(begin, None)) if len(tables) == 2 else fifth_held_out(labels)
    if labels.dtype.kind == "U":
        column = _column(name, tables[0], _label_columns(said))
        y_train, y_test, classes = numbered(name, f"column {column!r}", labels[train].tolist(), labels[test].tolist())
    else:
        y_train, y_test, classes = labels[train], labels[test], int(max(labels.max(), 0)) + 1
    data = Dataset(name, images[train], y_train, images[test], y_test, classes)
    if "client" not in said:
        return data
    column = _column(name, tables[0], (said["client"],))
    known = [table for table in tables if column in table.column_names]
    said_of_each = [owner for table in known for owner in table[column]]
    if empty := sum(owner is None for owner in said_of_each):
        raise InputError(
            f"Data set {name!r}: column {column!r} says of {empty} examples not whose they are; expected a "
            "client of each."
        )
    owners = np.array([str(owner) for owner in said_of_each])
    of_test = owners[test] if len(owners) == len(labels) else None
    return replace(data, client_ids=owners[train], test_client_ids=of_test)


def _splits(name: str, have: Sequence[str], said: Mapping[str, str]) -> list[str]:
    """Returns the names of the training split and, if there is one, of the test split."""
    train, test = said.get("train", "train"), said.get("test")
    if test == train:
        raise InputError(
            f"Data set {name!r}: received test={test}, which is the training split; expected another one, or none: "
            "then a stratified fifth of the training split is the test set."
        )
    if missing := [split for split in (train, test) if split is not None and split not in have]:
        raise InputError(f"Data set {name!r} has the splits {', '.join(have)}; expected {missing[0]}.")
    tests = [test] if test else [split for split in TEST_SPLITS if split in have and split != train]
    return [train, *tests[:1]]


def _label_columns(said: Mapping[str, str]) -> Sequence[str]:
    return (said["label"],) if "label" in said else LABEL_COLUMNS


def _labels(name: str, table: Table, said: Mapping[str, str]) -> NDArray[Any]:
    """Returns labels of a split: int64 or words."""
    labels = np.array(list(table[_column(name, table, _label_columns(said))]))
    if labels.dtype.kind not in "iuU" or labels.ndim != 1 or not labels.size:
        raise InputError(
            f"Data set {name!r} has labels of {labels.dtype}, shape {labels.shape}; expected integers or words, one "
            "for each example."
        )
    return labels if labels.dtype.kind == "U" else labels.astype(np.int64)


def _images(name: str, table: Table, said: Mapping[str, str]) -> Iterator[NDArray[Any]]:
    size = lengths(name, "size", said["size"]) if "size" in said else None
    column = _column(name, table, (said["image"],) if "image" in said else IMAGE_COLUMNS)
    for number, image in enumerate(table[column]):
        pixels = _pixels(name, f"image {number} of column {column!r}", image)
        yield pixels if size is None else scaled(name, pixels, size)


def _column(name: str, table: Table, known: Sequence[str]) -> str:
    for column in known:
        if column in table.column_names:
            return column
    have = ", ".join(table.column_names)
    raise InputError(f"Data set {name!r} has the columns {have}; expected one of {', '.join(known)}.")


def _pixels(name: str, where: str, image: Any) -> NDArray[Any]:
    """Returns the pixels of an image object, an encoded one, an array or nested lists."""
    if isinstance(image, Mapping) and image.get("bytes"):  # of files that do not say what their columns are
        image = import_module("PIL.Image").open(BytesIO(image["bytes"]))
    if hasattr(image, "convert"):
        return pixels_of(name, where, image)
    pixels = np.asarray(image)
    pixels = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    narrow = pixels.dtype.kind in "iu" and pixels.dtype != np.uint16  # of which all images decide
    if narrow and pixels.size and pixels.min() >= 0 and pixels.max() <= 255:
        return pixels.astype(np.uint8, copy=False)
    return pixels

"""A user's own table: a row for each example, with columns for its label, its client, and its features or image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, first_line, suggestion
from ..files import is_file
from ..seeding import SERVER, generator
from .dataset import DataRoots, Dataset, DatasetSource
from .image_files import read_images
from .said import found, lengths, parted
from .splits import Indices, holdout

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("label", "client", "image", "split", "test", "drop", "shape", "size")
"""What may be said behind a file."""
USUAL: Mapping[str, Sequence[str]] = {
    "label": ("label", "labels", "class", "target", "y"),
    "client": ("client", "client_id", "user", "user_id"),
    "image": ("image", "image_path", "path", "file", "filename"),
    "split": ("split",),
}
"""Names of columns that are taken for what they say, if nothing else is said."""
TEST_FRACTION = 0.2
SPLITS = ("train", "test")


class OwnTable(DatasetSource):
    """Base of tables in files.

    Labels are numbers or words, and become 0, 1, ... in sorted order. A column of images holds paths, from the table's
    folder on; otherwise all other columns are features, which have to be numbers. A column `split` says train or test,
    or `test=FILE` is another table; otherwise a stratified fifth is the test set, the same in each run.
    """

    argument_name = "FILE[?KEY=VALUE&...]"
    kind: ClassVar[str]
    """As scenarios name it: "csv"."""

    @abstractmethod
    def read(self, name: str, path: Path) -> pd.DataFrame:
        """Returns a file as a table.

        Raises:
            InputError: What reads it is not installed.
        """

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        name = f"{self.kind}:{self.argument}"
        _, said = parted(name, self.argument, KEYS)
        tables = [self._table(name, path) for path in self._paths(roots)]
        columns = _columns(name, [*map(str, tables[0].columns)], said)
        if len(tables) == 2:
            for table in tables:
                _check_columns(name, table, tables[0])
            train, test = tables
        else:
            train, test = _split(name, tables[0], columns)
        labels = [_labels(name, table, columns["label"]) for table in (train, test)]
        if len({type(label) for of in labels for label in of}) > 1:  # words in one table, numbers in the other
            labels = [list(map(str, of)) for of in labels]
        y_train, y_test, classes = numbered(name, columns["label"], *labels)
        folder = self._paths(roots)[0].parent
        x_train, x_test = _inputs(name, (train, test), columns, said, folder)
        if x_train.dtype != x_test.dtype:
            x_train, x_test = x_train.astype(np.float32), x_test.astype(np.float32)
        owners = [_owners(name, table, columns["client"]) for table in (train, test) if "client" in columns]
        of_train, of_test = owners or (None, None)
        return Dataset(name, x_train, y_train, x_test, y_test, classes, client_ids=of_train, test_client_ids=of_test)

    def fingerprint(self, roots: DataRoots) -> Hashable:
        """Returns path, time and size of each file."""
        states = [(path.resolve(), path.stat()) for path in self._paths(roots)]
        return tuple((path, state.st_mtime_ns, state.st_size) for path, state in states)

    def _paths(self, roots: DataRoots) -> list[Path]:
        name = f"{self.kind}:{self.argument}"
        file, said = parted(name, self.argument, KEYS)
        advice = "a table with a row for each example, and a column of labels"
        return [found(name, each, roots, is_file, advice) for each in (file, said.get("test")) if each]

    def _table(self, name: str, path: Path) -> pd.DataFrame:
        try:
            table = self.read(name, path)
        except InputError:
            raise
        except Exception as error:  # pandas' readers raise nearly anything
            raise InputError(f"Data set {name!r}: {path} cannot be read: {first_line(error)}.") from error
        if not len(table):
            raise InputError(f"Data set {name!r}: {path} has no rows.")
        return table.rename(columns=str)


def numbered(
    name: str, column: str, train: Sequence[Any], test: Sequence[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Returns labels of the training and the test set as 0, 1, ... in sorted order, and how many classes there are.

    Args:
        name: Of the data set, for messages.
        column: Of the labels, likewise.
        train: Of the training examples: words, or integers.
        test: Of the test examples, likewise.

    Raises:
        InputError: There is one class, or hardly an example for each.
    """
    known = sorted({*train, *test})
    if len(known) < 2 or len(known) > max(2, len(train) // 2):
        raise InputError(
            f"Data set {name!r}: column {column!r} has {len(known)} different labels in {len(train)} rows; expected at "
            "least two classes, with several examples each."
        )
    numbers = {label: number for number, label in enumerate(known)}
    y_train, y_test = (np.array([numbers[label] for label in of], np.int32) for of in (train, test))
    return y_train, y_test, len(known)


def fifth_held_out(labels: Iterable[Any], what: str = "own table") -> tuple[Indices, Indices]:
    """Returns which examples are for training and which for testing where nothing says so, the same in each run.

    Args:
        labels: Of all examples; the test set is stratified by them.
        what: The examples are, for a generator of their own; the run's seed decides nothing here.
    """
    classes = np.unique(np.asarray(labels), return_inverse=True)[1]
    return holdout(classes, TEST_FRACTION, generator(0, 0, SERVER, what))


def _columns(name: str, header: Sequence[str], said: Mapping[str, str]) -> dict[str, str]:
    """Returns which column is what, of `USUAL`; those that are neither said nor called so are left out.

    Raises:
        InputError: There is no such column, none of labels, or something is said that would have no effect.
    """
    dropped = _dropped(said)
    named = [(what, said[what]) for what in USUAL if what in said]
    if unknown := [
        (key, column) for key, column in (*named, *(("drop", column) for column in dropped)) if column not in header
    ]:
        raise InputError(
            f"Data set {name!r}: {key}={column}, but there is no such column.{suggestion(column, header)}"
            for key, column in unknown
        )
    columns = dict(named)
    if twice := [what for what, column in named if column in dropped]:
        raise InputError(
            f"Data set {name!r}: column {columns[twice[0]]!r} is said by {twice[0]}= and by drop=; expected one."
        )
    for what, usual in USUAL.items():
        if here := [column for column in usual if column in header and column not in dropped]:
            columns.setdefault(what, here[0])
    if "label" not in columns:
        have = ", ".join(header[:8])
        raise InputError(
            f"Data set {name!r} has the columns {have}, and none called {', '.join(USUAL['label'])}; say which holds "
            "the labels, as in ?label=COLUMN."
        )
    if "split" in columns and "test" in said:
        raise InputError(
            f"Data set {name!r}: test={said['test']} is the test set, but column {columns['split']!r} says train or "
            f"test, too; expected one of both: leave test= out, or drop={columns['split']}."
        )
    if "size" in said and "image" not in columns:
        raise InputError(
            f"Data set {name!r}: size={said['size']} scales images, but there is no column of their paths; say which "
            f"it is, as in image=COLUMN, or leave size= out (shape={said['size']} is for pixels in columns)."
        )
    if "shape" in said and "image" in columns:
        raise InputError(
            f"Data set {name!r}: shape={said['shape']} is for pixels in columns, but column {columns['image']!r} holds "
            f"paths of images; use size={said['shape']} to scale them, or drop={columns['image']}."
        )
    return columns


def _dropped(said: Mapping[str, str]) -> list[str]:
    return [*filter(None, said.get("drop", "").split(","))]


def _check_columns(name: str, table: pd.DataFrame, other: pd.DataFrame) -> None:
    if set(table.columns) != set(other.columns):
        odd = sorted(set(table.columns) ^ set(other.columns))
        raise InputError(f"Data set {name!r}: the two tables differ in the columns {', '.join(odd[:5])}.")


def _split(name: str, table: pd.DataFrame, columns: Mapping[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns training and test examples, by the table's own word or drawn from a generator of its own."""
    if "split" in columns:
        said = table[columns["split"]].astype(str)
        if unknown := sorted(set(said) - set(SPLITS)):
            raise InputError(
                f"Data set {name!r}: column {columns['split']!r} says {unknown[0]!r}; expected train or test."
            )
        return table[said == "train"], table[said == "test"]
    rest, out = fifth_held_out(_labels(name, table, columns["label"]))
    return table.iloc[rest], table.iloc[out]


def _owners(name: str, table: pd.DataFrame, column: str) -> NDArray[np.str_]:
    """Returns whose each row is, as text.

    Raises:
        InputError: Nobody's.
    """
    if empty := int(table[column].isna().sum()):
        raise InputError(
            f"Data set {name!r}: column {column!r} says of {empty} rows not whose they are; fill in a client, or leave "
            "the rows out."
        )
    return np.asarray(table[column].astype(str).to_numpy().astype(str))


def _labels(name: str, table: pd.DataFrame, column: str) -> list[Any]:
    values = table[column]
    if empty := int(values.isna().sum()):
        raise InputError(f"Data set {name!r}: column {column!r} is empty in {empty:,} rows; expected a label in each.")
    if values.dtype.kind == "f":
        if (values != values.round()).any():
            some = values[values != values.round()].iloc[0]
            raise InputError(f"Data set {name!r}: column {column!r} holds {some}; expected classes, words or integers.")
        values = values.astype(np.int64)
    return values.tolist() if values.dtype.kind in "iu" else values.astype(str).tolist()


def _inputs(
    name: str, tables: Sequence[pd.DataFrame], columns: Mapping[str, str], said: Mapping[str, str], folder: Path
) -> list[NDArray[Any]]:
    """Returns images or features of each table."""
    if "image" not in columns:
        return [_features(name, table, columns, said) for table in tables]
    size = lengths(name, "size", said["size"]) if "size" in said else None
    paths = [folder / str(path) for table in tables for path in table[columns["image"]]]
    return np.split(read_images(name, paths, size), [len(tables[0])])


def _features(name: str, table: pd.DataFrame, columns: Mapping[str, str], said: Mapping[str, str]) -> NDArray[Any]:
    """Returns features: (n, features), or (n, height, width, channels) where a shape is said."""
    left_out = {*columns.values(), *_dropped(said)}
    features = table[[column for column in table.columns if column not in left_out]]
    if words := [str(column) for column in features if features[column].dtype.kind not in "iufb"]:
        raise InputError(
            f"Data set {name!r}: columns {', '.join(words[:5])} hold no numbers; leave them out with "
            f"drop={','.join(words[:5])}, or encode them as numbers."
        )
    if empty := [str(column) for column in features if features[column].isna().any()]:
        raise InputError(
            f"Data set {name!r}: columns {', '.join(empty[:5])} have empty cells; fill them, or drop={empty[0]}."
        )
    values = features.to_numpy()
    if "shape" not in said:
        return values.astype(np.float32)
    shape = lengths(name, "shape", said["shape"], most=3)
    if prod(shape) != values.shape[1]:
        raise InputError(
            f"Data set {name!r}: shape={said['shape']} has {prod(shape)} values, but there are {values.shape[1]} "
            "columns of numbers."
        )
    whole = values.dtype.kind in "iub" and values.min() >= 0 and values.max() <= 255
    return values.reshape(-1, *shape).astype(np.uint8 if whole else np.float32)

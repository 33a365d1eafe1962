"""A user's own table: a row for each example, with columns for its label, its client, and its features or image."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, first_line, suggestion
from ..files import is_file
from ..seeding import SERVER, generator
from ..units import counted
from .dataset import DataRoots, Dataset, DatasetSource
from .image_files import read_images, stamp
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
NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
"""What is written as one that float64 holds, so that it can be told from a name such as 01 or a long identifier."""
UNNAMED = re.compile(r"Unnamed: [0-9]+")
"""How pandas names a column that has no name in a header."""
TEST_FRACTION = 0.2
SPLITS = ("train", "test")
Read = TypeVar("Read")


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
    def header(self, name: str, path: Path) -> list[str]:
        """Returns the names of a file's columns.

        Raises:
            InputError: What reads it is not installed.
        """

    @abstractmethod
    def read(self, name: str, path: Path, words: Collection[str]) -> pd.DataFrame:
        """Returns a file as a table.

        Args:
            name: Of the data set, for messages.
            path: Of the file.
            words: Columns that are read as they are written, so that 01 is not 1, and NA and None are no empty cells.
        """

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        name = f"{self.kind}:{self.argument}"
        _, said = parted(name, self.argument, KEYS)
        columns, tables = self._opened(name, roots)
        whole = tables[0]
        labels = _labels(name, tables, columns["label"])
        if len(tables) == 1:
            train, test = _split(name, whole, labels[0], columns)
            tables, labels = [whole.iloc[train], whole.iloc[test]], [[labels[0][i] for i in of] for of in (train, test)]
        y_train, y_test, classes = numbered(name, f"column {columns['label']!r}", *labels)
        folder = self._paths(roots)[0].parent
        x_train, x_test = _inputs(name, tables, columns, said, folder)
        if x_train.dtype != x_test.dtype:
            x_train, x_test = x_train.astype(np.float32), x_test.astype(np.float32)
        of_train, of_test = _owners(name, tables, columns["client"]) if "client" in columns else (None, None)
        return Dataset(name, x_train, y_train, x_test, y_test, classes, client_ids=of_train, test_client_ids=of_test)

    def fingerprint(self, roots: DataRoots) -> Hashable:
        """Returns what changes with the tables, and with the images that they name."""
        version = stamp(str(path.absolute()) for path in self._paths(roots))
        return version, stamp(_images_of(type(self), self.argument, roots, version))

    def images(self, roots: DataRoots) -> list[Path]:
        """Returns where the images are that the tables name; none if they hold features."""
        name = f"{self.kind}:{self.argument}"
        _, said = parted(name, self.argument, KEYS)
        first = self._paths(roots)[0]
        if "image" not in _columns(name, self._readable(name, first, self.header), said):
            return []
        columns, tables = self._opened(name, roots)
        return _image_paths(tables, columns["image"], first.parent.absolute())

    def _opened(self, name: str, roots: DataRoots) -> tuple[dict[str, str], list[pd.DataFrame]]:
        """Returns which column is what, and one or two tables with the same columns in the same order."""
        _, said = parted(name, self.argument, KEYS)
        paths = self._paths(roots)
        headers = [self._readable(name, path, self.header) for path in paths]
        columns = _columns(name, headers[0], said)
        _check_columns(name, headers)
        read = partial(self.read, words=set(columns.values()))
        tables = [self._readable(name, path, read).rename(columns=str)[headers[0]] for path in paths]
        if empty := [path for path, table in zip(paths, tables, strict=True) if not len(table)]:
            raise InputError(f"Data set {name!r}: {empty[0]} has no rows.")
        return columns, tables

    def _paths(self, roots: DataRoots) -> list[Path]:
        name = f"{self.kind}:{self.argument}"
        file, said = parted(name, self.argument, KEYS)
        advice = "a table with a row for each example, and a column of labels"
        return [found(name, each, roots, is_file, advice) for each in (file, said.get("test")) if each]

    @staticmethod
    def _readable(name: str, path: Path, read: Callable[[str, Path], Read]) -> Read:
        try:
            return read(name, path)
        except InputError:
            raise
        except Exception as error:  # pandas' readers raise nearly anything
            raise InputError(f"Data set {name!r}: {path} cannot be read: {first_line(error)}.") from error


def numbered(
    name: str, where: str, train: Sequence[Any], test: Sequence[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Returns labels of the training and the test set as 0, 1, ... in sorted order, and how many classes there are.

    Args:
        name: Of the data set, for messages.
        where: They are, as in "column 'kind'", likewise.
        train: Of the training examples: words, or integers.
        test: Of the test examples, likewise.

    Raises:
        InputError: There is one class, or hardly an example for each.
    """
    known = sorted({*train, *test})
    if len(known) < 2 or len(known) > max(2, len(train) // 2):
        raise InputError(
            f"Data set {name!r}: {where} has {counted(len(known), 'different label')} in {len(train)} training "
            "examples; expected at least two classes, with several examples each."
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


def _check_columns(name: str, headers: Sequence[Sequence[str]]) -> None:
    if odd := sorted(set(headers[0]) ^ set(headers[-1])):
        raise InputError(f"Data set {name!r}: the two tables differ in the columns {', '.join(odd[:5])}.")


def _split(
    name: str, table: pd.DataFrame, labels: Sequence[Any], columns: Mapping[str, str]
) -> tuple[Indices, Indices]:
    """Returns which rows are for training and which for testing, by the table's own word or drawn."""
    if "split" not in columns:
        return fifth_held_out(labels)
    said = table[columns["split"]].fillna("").astype(str)
    if unknown := sorted(set(said) - set(SPLITS)):
        raise InputError(f"Data set {name!r}: column {columns['split']!r} says {unknown[0]!r}; expected train or test.")
    return np.flatnonzero(said == "train"), np.flatnonzero(said == "test")


def _owners(name: str, tables: Sequence[pd.DataFrame], column: str) -> list[NDArray[np.str_]]:
    """Returns whose each row of each table is, as text.

    Raises:
        InputError: Nobody's.
    """
    texts = _texts(tables, column)
    if empty := sum(of.count("") for of in texts):
        raise InputError(
            f"Data set {name!r}: column {column!r} says of {empty} rows not whose they are; fill in a client, or leave "
            "the rows out."
        )
    numbers = _numbers(texts)
    if all(number % 1 == 0 for number in numbers.values()):
        texts = [[str(int(numbers[text])) if numbers else text for text in of] for of in texts]
    return [np.array(of, np.str_) for of in texts]


def _labels(name: str, tables: Sequence[pd.DataFrame], column: str) -> list[list[Any]]:
    """Returns the labels of each table: integers if all of all tables are, otherwise words."""
    texts = _texts(tables, column)
    if empty := sum(of.count("") for of in texts):
        raise InputError(f"Data set {name!r}: column {column!r} is empty in {empty:,} rows; expected a label in each.")
    numbers = _numbers(texts)
    if broken := [text for text, number in numbers.items() if number % 1]:
        raise InputError(
            f"Data set {name!r}: column {column!r} holds {broken[0]}; expected classes, words or integers."
        )
    return [[int(numbers[text]) if numbers else text for text in of] for of in texts]


def _texts(tables: Sequence[pd.DataFrame], column: str) -> list[list[str]]:
    """Returns a column of each table as it is written; an empty cell is an empty text."""
    return [table[column].astype(object).where(table[column].notna(), "").astype(str).tolist() for table in tables]


def _numbers(texts: Sequence[Sequence[str]]) -> dict[str, float]:
    """Returns the value of each text; nothing if one is no number as a number is written, such as 01."""
    known = dict.fromkeys(text for of in texts for text in of)
    if not all(NUMBER.fullmatch(text.strip()) for text in known):
        return {}
    return {text: float(text) for text in known}


def _inputs(
    name: str, tables: Sequence[pd.DataFrame], columns: Mapping[str, str], said: Mapping[str, str], folder: Path
) -> list[NDArray[Any]]:
    """Returns images or features of each table."""
    if "image" not in columns:
        return [_features(name, table, columns, said) for table in tables]
    size = lengths(name, "size", said["size"]) if "size" in said else None
    paths = _image_paths(tables, columns["image"], folder)
    if empty := paths.count(folder):
        raise InputError(
            f"Data set {name!r}: column {columns['image']!r} is empty in {empty:,} rows; expected an image in each."
        )
    return np.split(read_images(name, paths, size), [len(tables[0])])


@lru_cache(maxsize=8)
def _images_of(source: type[OwnTable], argument: str, roots: DataRoots, version: str) -> tuple[str, ...]:
    """`version` only keys the cache: tables that were written anew are read anew."""
    return tuple(map(str, source(argument).images(roots)))


def _image_paths(tables: Sequence[pd.DataFrame], column: str, folder: Path) -> list[Path]:
    return [folder / path for of in _texts(tables, column) for path in of]


def _features(name: str, table: pd.DataFrame, columns: Mapping[str, str], said: Mapping[str, str]) -> NDArray[Any]:
    """Returns features: (n, features), or (n, height, width, channels) where a shape is said."""
    left_out = {*columns.values(), *_dropped(said)}
    features = table[[column for column in table.columns if column not in left_out]]
    if unnamed := [str(column) for column in features if UNNAMED.fullmatch(str(column))]:
        raise InputError(
            f"Data set {name!r}: a column has no name (pandas calls it {unnamed[0]!r}), as the row numbers that to_csv "
            f"writes, which would be a feature; use to_csv(..., index=False), drop={unnamed[0]}, or name the column."
        )
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

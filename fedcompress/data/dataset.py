"""What a data set is, and the interface of a data set plug-in."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedcompress.units import counted

from ..errors import InputError

if TYPE_CHECKING:
    from ..plugins import Use


@dataclass(frozen=True)
class Statistics:
    """What a channel's pixels in [0, 1] are like: means and standard deviations, one for each channel."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]


CIFAR10 = Statistics((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100 = Statistics((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
"""Of the training images, as most published code has them."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled examples, split into training and test set. Arrays are checked, and read-only from here on.

    Attributes:
        name: As written in a scenario.
        x_train: (n, h, w, c) or (n, features), uint8 (0..255) or float32. (n, h, w) gets a channel axis, other floats
            become float32.
        y_train: (n,) int32 in [0, classes). Other integers are converted.
        x_test: As `x_train`, with the same shape and dtype of an example.
        y_test: As `y_train`.
        classes: Number of classes.
        client_ids: (n,) whose each training example is by nature, such as the writer of a character, for partitions
            that follow it: integers or strings, numbered 0, 1, ... in sorted order; None where nothing says so.
        test_client_ids: (n,) likewise of the test examples, under the same names; numbered as those, -1 for whoever has
            no training example.
        published: What its pixels are like, as literature has it; None where there is no such thing.
        people: Names of those numbers, as `client_ids` had them; found by itself.

    Raises:
        InputError: An array is not as described above; the message lists every problem.
    """

    name: str
    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    classes: int
    client_ids: NDArray[Any] | None = None
    published: Statistics | None = None
    test_client_ids: NDArray[Any] | None = None
    people: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        problems: list[str] = []
        for split in ("train", "test"):
            x, y = np.asarray(getattr(self, f"x_{split}")), np.asarray(getattr(self, f"y_{split}"))
            faults = [*_input_problems(x), *_label_problems(y, self.classes)]
            if not faults and len(x) != len(y):
                faults = [
                    f"has {counted(len(x), 'example')} and {counted(len(y), 'label')}; expected one label per example"
                ]
            problems += [f"Data set {self.name!r}: the {split} set {problem}." for problem in faults]
            if not faults:
                object.__setattr__(self, f"x_{split}", read_only(_as_input(x)))
                object.__setattr__(self, f"y_{split}", read_only(y.astype(np.int32, copy=False)))
        train, test = self.x_train, self.x_test
        if not problems and (train.shape[1:], train.dtype) != (test.shape[1:], test.dtype):
            problems.append(
                f"Data set {self.name!r}: training examples are {train.dtype} {train.shape[1:]}, test examples are "
                f"{test.dtype} {test.shape[1:]}; expected the same."
            )
        if self.test_client_ids is not None:
            problems += self._number_test_clients(np.asarray(self.test_client_ids))
        if self.client_ids is not None:
            ids = np.asarray(self.client_ids)
            if ids.dtype.kind not in "iuU" or ids.shape != np.asarray(self.y_train).shape:
                problems.append(
                    f"Data set {self.name!r}: client_ids are {ids.dtype} of shape {ids.shape}; expected integers or "
                    "strings, one for each training example."
                )
            else:
                names, numbers = np.unique(ids, return_inverse=True)
                object.__setattr__(self, "client_ids", read_only(numbers))
                object.__setattr__(self, "people", read_only(names if self.people is None else self.people[names]))
        if problems:
            raise InputError(problems)

    def _number_test_clients(self, ids: NDArray[Any]) -> list[str]:
        """Numbers whose each test example is as the training examples' are; returns what is wrong with that."""
        known = np.asarray([] if self.client_ids is None else self.client_ids)
        if not known.size or ids.dtype.kind != known.dtype.kind or ids.shape != np.asarray(self.y_test).shape:
            return [
                f"Data set {self.name!r}: test_client_ids are {ids.dtype} of shape {ids.shape}; expected what "
                "client_ids are, one for each test example."
            ]
        people = np.unique(known)
        places = np.minimum(np.searchsorted(people, ids), len(people) - 1)
        object.__setattr__(self, "test_client_ids", read_only(np.where(people[places] == ids, places, -1)))
        return []

    @cached_property
    def statistics(self) -> Statistics:
        """What its training inputs are like, as models see them: images in [0, 1]; for each channel, or feature."""
        channels = self.x_train.shape[-1]
        columns = self.x_train.reshape(-1, channels)
        scale = 255.0 if columns.dtype == np.uint8 else 1.0
        means, deviations = columns.mean(axis=0, dtype=np.float64), columns.std(axis=0, dtype=np.float64)
        return Statistics(tuple((means / scale).tolist()), tuple((deviations / scale).tolist()))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the arrays: equal on every node that has the same data, whatever the files are called."""
        digest = sha256(str(self.classes).encode())
        people = [name for name in ("client_ids", "test_client_ids") if getattr(self, name) is not None]
        for name in ("x_train", "y_train", "x_test", "y_test", *people):
            array = np.ascontiguousarray(getattr(self, name))
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"/{name}{array.dtype.str}{array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()


def _input_problems(x: NDArray[Any]) -> Iterable[str]:
    if x.ndim not in (2, 3, 4):
        yield f"has inputs of shape {x.shape}; expected (n, h, w, c), (n, h, w) or (n, features)"
    elif x.size == 0:
        yield f"is empty: its inputs have shape {x.shape}"
    elif x.dtype != np.uint8 and x.dtype.kind != "f":
        told, fix = (f" from {x.min()} to {x.max()}", ": scale them to 0..255") if x.dtype.kind in "iu" else ("", "")
        yield f"has {x.dtype} inputs{told}; expected uint8 (0..255) or float32{fix}, and convert with .astype()"
    elif x.dtype.kind == "f" and not np.isfinite(x).all():
        yield f"has {int(np.sum(~np.isfinite(x)))} inputs that are infinite or not a number"
    elif x.dtype.kind == "f" and max(x.max(), -x.min()) > np.finfo(np.float32).max:
        largest = float(max(x.max(), -x.min()))
        yield f"has inputs of up to {largest:.3g}, which float32 does not hold; scale them"


def _label_problems(y: NDArray[Any], classes: int) -> Iterable[str]:
    if y.ndim != 1 or y.dtype.kind not in "iu":
        yield f"has {y.dtype} labels of shape {y.shape}; expected integers of shape (n,)"
    elif classes > 0 and len(y) and (y.min() < 0 or y.max() >= classes):
        yield f"has labels from {y.min()} to {y.max()}; expected 0 to {classes - 1}"


def _as_input(x: NDArray[Any]) -> NDArray[Any]:
    x = x[..., np.newaxis] if x.ndim == 3 else x
    return x if x.dtype == np.uint8 else x.astype(np.float32, copy=False)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Returns a read-only view: one loaded data set serves every client of every run in the process."""
    view = array.view()
    view.flags.writeable = False
    return view


def _folder_of(variable: str, default: Path | None = None) -> Path | None:
    value = os.environ.get(variable, "")
    return Path(value).expanduser() if value else default


def _keras_folder() -> Path:
    return (_folder_of("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def cache_folder() -> Path:
    """Returns the user's folder for what can be had again."""
    return (_folder_of("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedcompress"


@dataclass(frozen=True)
class DataRoots:
    """Where to look for data sets, in this order, and whether one may be downloaded.

    Attributes:
        data_dir: Of the command line or the API.
        environment: $FEDCOMPRESS_DATA_DIR.
        keras: Keras' own cache of data sets.
        cache: Where downloads are kept.
        offline: $FEDCOMPRESS_OFFLINE is set: never download.

    Raises:
        InputError: `data_dir` or `environment` is given and is not a folder.
    """

    data_dir: Path | None = None
    environment: Path | None = field(default_factory=lambda: _folder_of("FEDCOMPRESS_DATA_DIR"))
    keras: Path = field(default_factory=_keras_folder)
    cache: Path = field(default_factory=cache_folder)
    offline: bool = field(default_factory=lambda: os.environ.get("FEDCOMPRESS_OFFLINE", "") not in ("", "0"))

    def __post_init__(self) -> None:
        for folder, origin in ((self.data_dir, "--data-dir"), (self.environment, "$FEDCOMPRESS_DATA_DIR")):
            if folder is not None and not folder.is_dir():
                raise InputError(f"{origin} is {str(folder)!r}, which is not a folder.")

    @property
    def given(self) -> list[Path]:
        """The folders that the user named."""
        return [folder for folder in (self.data_dir, self.environment) if folder is not None]

    def folders(self, *subfolders: str, known: Iterable[Path] = ()) -> list[Path]:
        """Returns the folders to look in, in order.

        Args:
            subfolders: Names under which the data set may lie in a root, tried before the root itself.
            known: Places of this data set in particular, for example where a distribution's package puts it.
        """

        def within(root: Path) -> list[Path]:
            return [*(root / subfolder for subfolder in subfolders), root]

        places = [folder for root in self.given for folder in within(root)]
        return [*places, *known, *within(self.keras), *within(self.cache)]


class DatasetSource(ABC):
    """A data set by name: the plug-in interface, one subclass per file.

    Args:
        argument: What follows the colon in the scenario's `dataset = "name:argument"`, or an empty string.
    """

    argument_name: ClassVar[str] = ""
    """What the argument is, for example "FILE"; empty if the source takes none."""

    def __init__(self, argument: str = "") -> None:
        self.argument = argument

    def problems_in(self, use: Use) -> Iterable[str]:
        """Returns what is wrong with its use in a scenario, a sentence each; asked before any data is read."""
        return ()

    @abstractmethod
    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set.

        Raises:
            InputError: It is not there (says what was looked for, where, and how to get it) or is damaged.
        """

    def fingerprint(self, roots: DataRoots) -> Hashable:
        """Returns a value that changes when the files have changed since they were last loaded."""
        return None

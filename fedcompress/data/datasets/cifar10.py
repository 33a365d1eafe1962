"""CIFAR-10: 50,000 + 10,000 colour photographs of ten kinds of things, 32 x 32 (Krizhevsky 2009)."""

from __future__ import annotations

import errno
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...files import irregular
from ..cifar_pickle import read_batch
from ..dataset import CIFAR10, DataRoots, Dataset, DatasetSource
from ..fetch import Remote, fetch, not_found
from ..formats import damaged, opened

RECORDS = 10_000
"""Images in each of the six files."""

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32

MOST_OF_BATCH, MOST_OF_ARCHIVE = 2 * RECORDS * (1 + PIXELS), 8 * RECORDS * (1 + PIXELS)
"""Bytes that are read of a batch, which has half as many or a little more, and of an archive of six."""

BINARY = "cifar-10-batches-bin"
PYTHON = "cifar-10-batches-py"

ARCHIVE = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Reader = Callable[[str], bytes]


class Cifar10(DatasetSource):
    """From the binary version (folder or archive), or from the Python version that Keras and torchvision keep."""

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        subfolders = ("cifar10", "cifar-10", f"{PYTHON}-target", "cifar-10-batches-py_extracted")
        folders = roots.folders(*subfolders)
        for folder in folders:
            if dataset := _in_folder(folder):
                return dataset
        cache = roots.cache / "cifar10"
        install = f"--data-dir DIR, where DIR holds {ARCHIVE.file} or the folder {BINARY} or {PYTHON}"
        absent = not_found("cifar10", f"{BINARY}, {ARCHIVE.file} or {PYTHON}", folders, install)
        fetch([ARCHIVE], cache, roots, absent)
        return _from_archive(cache / ARCHIVE.file)


def _in_folder(folder: Path) -> Dataset | None:
    for place in (folder / BINARY, folder):
        if (place / "test_batch.bin").is_file():
            return _from_binary(_file_reader(place), place)
    if (folder / ARCHIVE.file).is_file():
        return _from_archive(folder / ARCHIVE.file)
    for place in (folder / PYTHON, folder):
        if (place / "test_batch").is_file():
            return _from_python(place)
    return None


def _file_reader(folder: Path) -> Reader:
    def read(name: str) -> bytes:
        path = folder / name
        try:
            if kind := irregular(path):
                raise OSError(errno.EINVAL, f"it is {kind}")
            with path.open("rb") as file:
                return file.read(MOST_OF_BATCH)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error}; expected all six files of CIFAR-10.") from error

    return read


def _from_archive(path: Path) -> Dataset:
    try:
        # In one pass: going back in a compressed archive would decompress it again.
        with opened(path) as read, _tar(read) as archive:
            files = {}
            for member in archive:
                if member.isfile() and member.name.endswith(".bin") and member.size == RECORDS * (1 + PIXELS):
                    content = archive.extractfile(member)
                    files[Path(member.name).name] = content.read() if content else b""
    except InputError:
        raise
    except Exception as error:  # damaged bytes make tarfile raise nearly anything
        raise InputError(f"{path} cannot be read: {error}. Delete it and get it again.") from error
    return _from_binary(lambda name: files.get(name, b""), path)


class _Bounded:
    """A stream that ends in an error once more has been read than the archive can have."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left = MOST_OF_ARCHIVE

    def read(self, most: int) -> bytes:
        """Returns so many of the next bytes."""
        if most > self._left:
            raise ValueError(f"it has more than {MOST_OF_ARCHIVE:,} bytes")
        piece = self._read(most)
        self._left -= len(piece)
        return piece


def _tar(read: Callable[[int], bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=_Bounded(read), mode="r|")  # type: ignore[call-overload, no-any-return]  # only read


def _from_binary(read: Reader, place: Path) -> Dataset:
    def batch(name: str) -> Batch:
        content = read(f"{name}.bin")
        if len(content) != RECORDS * (1 + PIXELS):
            expected = f"{RECORDS} records of 1 + {PIXELS} bytes"
            raise damaged(place / f"{name}.bin", f"it has {len(content)} bytes", expected)
        records = np.frombuffer(content, np.uint8).reshape(RECORDS, 1 + PIXELS)
        return _checked(records[:, 1:], records[:, 0], place / f"{name}.bin")

    return _assembled(batch)


def _from_python(folder: Path) -> Dataset:
    read = _file_reader(folder)
    return _assembled(lambda name: _checked(*read_batch(read(name), folder / name), folder / name))


def _checked(images: NDArray[np.uint8], labels: NDArray[np.uint8], path: Path) -> Batch:
    if images.shape != (RECORDS, PIXELS) or labels.shape != (RECORDS,) or labels.max() > 9:
        raise damaged(path, f"images {images.shape}, labels {labels.shape}", f"{RECORDS} images, labels 0 to 9")
    return images, labels


def _assembled(batch: Callable[[str], Batch]) -> Dataset:
    x_train = np.empty((5 * RECORDS, 32, 32, 3), np.uint8)
    y_train = np.empty(5 * RECORDS, np.uint8)
    for number in range(5):
        here = slice(number * RECORDS, (number + 1) * RECORDS)
        images, y_train[here] = batch(f"data_batch_{number + 1}")
        x_train[here] = _as_images(images)
    images, y_test = batch("test_batch")
    return Dataset("cifar10", x_train, y_train, np.ascontiguousarray(_as_images(images)), y_test, 10, published=CIFAR10)


def _as_images(planes: NDArray[np.uint8]) -> NDArray[Any]:
    """Returns (n, 32, 32, 3) of (n, 3072), in which each image is a red, a green and a blue plane."""
    return planes.reshape(-1, *SHAPE).transpose(0, 2, 3, 1)

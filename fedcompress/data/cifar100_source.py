"""CIFAR-100: 50,000 + 10,000 colour photographs of 100 kinds of things in 20 coarse classes (Krizhevsky 2009)."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .cifar_pickle import read_batch
from .dataset import CIFAR100, DataRoots, Dataset, DatasetSource
from .fetch import Remote, fetch, not_found
from .formats import damaged, opened, read_bytes

SIZES = {"train": 50_000, "test": 10_000}
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
FACTOR = 4
"""How many times the bytes of all images an archive may have at most, so that one that expands forever is given up."""

PYTHON, BINARY = "cifar-100-python", "cifar-100-binary"
ARCHIVE = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
)
BINARY_ARCHIVE = f"{BINARY}.tar.gz"

Part = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class Cifar100Source(DatasetSource):
    """From the Python version or the binary one, each as its archive or the folder in that."""

    name: ClassVar[str]
    labels: ClassVar[Literal["fine", "coarse"]]
    """Which of an image's two labels is its class."""
    classes: ClassVar[int]

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        folders = roots.folders("cifar100", "cifar-100")
        for folder in folders:
            if files := _in_folder(folder):
                return self._assembled(*files)
        install = f"--data-dir DIR, where DIR holds {ARCHIVE.file}, {BINARY_ARCHIVE} or the folder in one of them"
        absent = not_found(self.name, f"{PYTHON}, {BINARY} or their archives", folders, install)
        cache = roots.cache / "cifar100"
        fetch([ARCHIVE], cache, roots, absent)
        path = cache / ARCHIVE.file
        return self._assembled(path, _of_archive(path))

    def _assembled(self, place: Path, files: Mapping[str, bytes]) -> Dataset:
        (x_train, y_train), (x_test, y_test) = (self._part(place, files, name) for name in SIZES)
        return Dataset(self.name, x_train, y_train, x_test, y_test, self.classes, published=CIFAR100)

    def _part(self, place: Path, files: Mapping[str, bytes], name: str) -> Part:
        size = SIZES[name]
        if content := files.get(f"{name}.bin"):
            if len(content) != size * (2 + PIXELS):
                raise damaged(place, f"{name}.bin has {len(content)} bytes", f"{size} records of 2 + {PIXELS} bytes")
            records = np.frombuffer(content, np.uint8).reshape(size, 2 + PIXELS)
            images, labels = records[:, 2:], records[:, 0 if self.labels == "coarse" else 1]
        else:
            images, labels = read_batch(files.get(name, b""), place / name, f"{self.labels}_labels".encode())
        if images.shape != (size, PIXELS) or labels.shape != (size,) or labels.max() >= self.classes:
            expected = f"{size} images, {self.labels} labels 0 to {self.classes - 1}"
            raise damaged(place, f"{name} has images {images.shape}, labels {labels.shape}", expected)
        return np.ascontiguousarray(images.reshape(-1, *SHAPE).transpose(0, 2, 3, 1)), labels


def _in_folder(folder: Path) -> tuple[Path, Mapping[str, bytes]] | None:
    """Returns where the files are and what they hold; None if they are not here."""
    for place, suffix in ((folder / PYTHON, ""), (folder / BINARY, ".bin")):
        if all((place / f"{name}{suffix}").is_file() for name in SIZES):
            paths = [place / f"{name}{suffix}" for name in SIZES]
            return place, {path.name: read_bytes(path, "a part of CIFAR-100") for path in paths}
    for archive in (ARCHIVE.file, BINARY_ARCHIVE):
        if (folder / archive).is_file():
            return folder / archive, _of_archive(folder / archive)
    return None


def _of_archive(path: Path) -> dict[str, bytes]:
    """Returns the members of an archive that are needed, by name."""
    most = FACTOR * sum(SIZES.values()) * PIXELS
    wanted = {f"{name}{suffix}" for name in SIZES for suffix in ("", ".bin")}
    try:
        with opened(path) as read:
            content = read(most + 1)
        if len(content) > most:
            raise ValueError(f"it has more than {most:,} bytes")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = [m for m in archive if m.isfile() and Path(m.name).name in wanted]
            files = {Path(m.name).name: archive.extractfile(m) for m in members}
            return {name: file.read() for name, file in files.items() if file is not None}
    except InputError:
        raise
    except Exception as error:  # damaged bytes make tarfile raise nearly anything
        raise InputError(f"{path} cannot be read: {error}. Delete it and get it again.") from error

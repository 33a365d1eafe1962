"""folder: images of your own, a folder for each class: `dataset = "folder:DIR"` with DIR/CLASS/IMAGE.png.

DIR may hold train and test, each with a folder for each class; otherwise a stratified fifth is the test set. With
`folder:DIR?client=folder` there is a folder for each client around those of the classes. `size=32x32` scales images.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import InputError
from ..dataset import DataRoots, Dataset, DatasetSource
from ..image_files import SUFFIXES, below, read_images, stamp
from ..own_tables import SPLITS, fifth_held_out, numbered
from ..said import found, lengths, parted

KEYS = ("client", "size")
DEPTH = 3
"""Folders around an image, at most, below DIR: train or test, client, class."""


class _Image(NamedTuple):
    """Where an image is, of which class and client."""

    path: Path
    label: str
    client: str


class Folder(DatasetSource):
    """PNG, JPEG and what else Pillow reads; classes are numbered 0, 1, ... in the order of their names."""

    argument_name = "DIR[?KEY=VALUE&...]"

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        name = f"folder:{self.argument}"
        root, said = self._root(roots)
        if (whose := said.get("client", "folder")) != "folder":
            raise InputError(f"Data set {name!r}: received client={whose}; expected client=folder.")
        parts = [root / split for split in SPLITS] if all((root / split).is_dir() for split in SPLITS) else [root]
        found_images = [list(_images(part, "client" in said)) for part in parts]
        if empty := [part for part, images in zip(parts, found_images, strict=True) if not images]:
            expected = "CLIENT/CLASS/IMAGE" if "client" in said else "CLASS/IMAGE"
            raise InputError(f"Data set {name!r}: {empty[0]} holds no images; expected {expected}{SUFFIXES[0]}.")
        images = [image for part in found_images for image in part]
        labels = np.array([image.label for image in images])
        if len(parts) == 2:
            train, test = np.split(np.arange(len(images)), [len(found_images[0])])
        else:
            train, test = fifth_held_out(labels, "own images")
        y_train, y_test, classes = numbered(name, f"folder {parts[0]}", labels[train].tolist(), labels[test].tolist())
        size = lengths(name, "size", said["size"]) if "size" in said else None
        x = read_images(name, [image.path for image in images], size)
        owners = np.array([image.client for image in images])
        data = Dataset(name, x[train], y_train, x[test], y_test, classes)
        return replace(data, client_ids=owners[train], test_client_ids=owners[test]) if "client" in said else data

    def fingerprint(self, roots: DataRoots) -> Hashable:
        """Returns what changes with its images."""
        root, _ = self._root(roots)
        return stamp(below(str(root.resolve()), DEPTH))

    def _root(self, roots: DataRoots) -> tuple[Path, dict[str, str]]:
        name = f"folder:{self.argument}"
        folder, said = parted(name, self.argument, KEYS)
        return found(name, folder, roots, Path.is_dir, "a folder for each class, with its images"), said


def _images(root: Path, by_client: bool) -> Iterator[_Image]:
    """Yields the images below a folder, in the order of their names."""
    for path in sorted(root.glob("*/*/*" if by_client else "*/*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield _Image(path, path.parent.name, path.parent.parent.name)

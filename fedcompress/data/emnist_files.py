"""The three forms in which EMNIST's characters come with the number of who wrote them.

LEAF's JSON files (folders train and test, each of files with "users" and "user_data"), the two .h5 files of TensorFlow
Federated, and the .mat file of EMNIST itself. Its idx files leave the writers out. LEAF and TensorFlow Federated have
dark characters on white, in [0, 1]; what is returned is bright on black, 0 to 255, upright, as in MNIST.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .formats import damaged, read_bytes

SIDE = 28
MAT = "emnist-byclass.mat"
H5 = {part: f"fed_emnist_{part}.h5" for part in ("train", "test")}


@dataclass(frozen=True, eq=False)
class Written:
    """Images (n, 28, 28) uint8, labels (n,) from 0 to 61, and who wrote each (n,): strings or integers."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    writers: NDArray[Any]


def in_folder(folder: Path) -> tuple[Written, Written] | None:
    """Returns training and test examples of the first form that a folder has, None if it has none of them.

    Raises:
        InputError: A file is damaged.
    """
    parts = [sorted((folder / part).glob("*.json")) for part in H5]
    if all(parts):
        train, test = (_of_json(paths) for paths in parts)
        return train, test
    if all((folder / name).is_file() for name in H5.values()):
        train, test = (_of_h5(folder / name) for name in H5.values())
        return train, test
    for path in (folder / MAT, folder / "matlab" / MAT):
        if path.is_file():
            return _of_mat(path)
    return None


def _of_json(paths: Iterable[Path]) -> Written:
    found = []
    for path in paths:
        expected = 'LEAF\'s JSON: {"users": [...], "user_data": {USER: {"x": [[784 numbers]], "y": [...]}}}'
        try:
            table = json.loads(read_bytes(path, expected))
            for user in table["users"]:
                of_user = table["user_data"][user]
                found.append(_written(path, of_user["x"], of_user["y"], user))
        except (ValueError, TypeError, KeyError) as error:
            raise damaged(path, f"{type(error).__name__}: {error}", expected) from error
    return _joined(found)


def _of_h5(path: Path) -> Written:
    import h5py  # comes with TensorFlow, and takes a while

    expected = "TensorFlow Federated's groups examples/CLIENT with pixels (n, 28, 28) and label (n,)"
    try:
        with h5py.File(path, "r") as file:
            clients = file["examples"]
            return _joined(
                [_written(path, clients[c]["pixels"][()], clients[c]["label"][()], c) for c in sorted(clients)]
            )
    except InputError:
        raise
    except Exception as error:  # h5py's errors have no common base
        raise damaged(path, f"{type(error).__name__}: {error}", expected) from error


def _of_mat(path: Path) -> tuple[Written, Written]:
    from scipy.io import loadmat

    expected = "EMNIST's struct dataset with train and test, each of images (n, 784), labels and writers"
    try:
        found = loadmat(path, variable_names=["dataset"])["dataset"][0, 0]
        train, test = (_of_struct(found[part][0, 0]) for part in H5)
        return train, test
    except Exception as error:  # damaged bytes make SciPy raise nearly anything
        raise damaged(path, f"{type(error).__name__}: {error}", expected) from error


def _of_struct(part: Any) -> Written:
    images = np.asarray(part["images"], np.uint8).reshape(-1, SIDE, SIDE).transpose(0, 2, 1)  # column by column
    labels, writers = (np.asarray(part[name]).reshape(-1).astype(np.int64) for name in ("labels", "writers"))
    if not len(images) == len(labels) == len(writers):
        raise ValueError(f"{len(images)} images, {len(labels)} labels, {len(writers)} writers")
    return Written(np.ascontiguousarray(images), labels, writers)


def _written(path: Path, pixels: Any, labels: Any, writer: str) -> Written:
    """Returns the examples of one writer, given white as 1."""
    white = np.asarray(pixels, np.float32).reshape(-1, SIDE, SIDE)
    of_labels = np.asarray(labels, np.int64).reshape(-1)
    if len(white) != len(of_labels) or not (np.isfinite(white).all() and white.min(initial=0) >= 0):
        raise damaged(path, f"{writer} has {len(white)} images, {len(of_labels)} labels", "pixels from 0 to 1, labels")
    bright = np.rint((1.0 - np.minimum(white, 1.0)) * 255.0).astype(np.uint8)
    return Written(bright, of_labels, np.full(len(of_labels), str(writer)))


def _joined(found: list[Written]) -> Written:
    if not found:
        raise ValueError("it has no writers")
    return Written(*(np.concatenate([getattr(w, name) for w in found]) for name in ("images", "labels", "writers")))

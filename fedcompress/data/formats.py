"""File formats of data sets: IDX, NumPy archives, tables of small integers. Damage is an `InputError`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

IDX_UINT8 = b"\0\0\x08"
"""First three bytes of an IDX file of unsigned bytes; the fourth is the number of dimensions."""

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
"""The four files in which MNIST and its relatives come, gzipped or not."""


NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
"""The arrays of a data set in a NumPy archive."""


def damaged(path: Path, problem: object, expected: str) -> InputError:
    """Returns the error for a file that is not what its name says."""
    return InputError(f"{path} is damaged: {problem}; expected {expected}. Delete it and get it again.")


def read_bytes(path: Path) -> bytes:
    """Returns the content of a file, decompressed if it is gzip.

    Raises:
        InputError: It cannot be read, or its compression is damaged.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}. Delete it and get it again.") from error


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes (the format of yann.lecun.com/exdb/mnist).

    Args:
        path: The file, gzipped or not.
        dimensions: How many it must have: 3 for images, 1 for labels.

    Returns:
        Array of the shape that the header gives.

    Raises:
        InputError: The header or the length is wrong.
    """
    content = read_bytes(path)
    expected = f"an IDX file of unsigned bytes with {dimensions} dimensions"
    start = 4 + 4 * dimensions
    if content[:4] != IDX_UINT8 + bytes([dimensions]) or len(content) < start:
        raise damaged(path, f"it starts with {content[:4]!r}", expected)
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", dimensions, offset=4))
    if start + prod(shape) != len(content):
        raise damaged(path, f"it has {len(content) - start} bytes for shape {shape}", expected)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def find_idx(folder: Path) -> list[Path] | None:
    """Returns the four files of `IDX_FILES` in a folder, in that order; None unless all are there."""
    found = []
    for name in IDX_FILES:
        found += [path for path in (folder / f"{name}.gz", folder / name) if path.is_file()][:1]
    return found if len(found) == len(IDX_FILES) else None


def read_npz(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Reads arrays of a NumPy archive, refusing pickled objects.

    Raises:
        InputError: The file is not an archive, or lacks one of the names.
    """
    expected = f"a NumPy archive (np.savez) with the arrays {', '.join(names)}"
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise InputError(f"{path} holds one array; expected {expected}.")
        with archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                have = ", ".join(archive.files)
                raise InputError(f"{path} has no array {', '.join(missing)}, only {have}; expected {expected}.")
            return [archive[name] for name in names]
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}; expected {expected}.") from error


def read_table(path: Path, columns: int) -> NDArray[np.uint8]:
    """Reads comma-separated integers in 0..255, ten times faster than a general reader.

    Args:
        path: The file, gzipped or not.
        columns: Numbers per line.

    Returns:
        Array of shape (lines, columns).

    Raises:
        InputError: A field is something else, or a line has another number of fields.
    """
    content = read_bytes(path).replace(b"\r", b"")
    text = np.frombuffer(content if content.endswith(b"\n") else content + b"\n", np.uint8)
    expected = f"lines of {columns} comma-separated integers in 0..255"
    digits = text - np.uint8(ord("0"))  # what is below "0" wraps around and is above 9 too
    ends = np.flatnonzero(digits > 9)
    width = np.diff(ends, prepend=-1) - 1
    separators = np.full(columns, ord(","), np.uint8)
    separators[-1] = ord("\n")
    if len(ends) % columns or np.any(text[ends].reshape(-1, columns) != separators):
        raise damaged(path, "a line has other characters, or more or fewer fields", expected)
    if width.min() < 1 or width.max() > 3:
        raise damaged(path, f"fields have {width.min()} to {width.max()} digits", expected)
    values = digits[ends - 1].astype(np.uint16)
    for place in (1, 2):  # tens and hundreds; most pixels have neither
        longer = np.flatnonzero(width > place)
        values[longer] += digits[ends[longer] - place - 1] * np.uint16(10**place)
    if values.max() > 255:
        raise damaged(path, f"it has the value {values.max()}", expected)
    return values.astype(np.uint8).reshape(-1, columns)

"""File formats of data sets: IDX, NumPy archives, tables of small integers. Damage is an `InputError`."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import open_to_read

MOST = 2**31
"""Bytes of a file once it is decompressed: three times the largest relative of MNIST. An archive may have more."""
MOST_DEFLATED = 1032
"""Times that deflate makes anything smaller, at most (zlib's technical details, section on the maximum factor)."""
CHUNK = 1 << 20
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

IDX_UINT8 = b"\0\0\x08"
"""First three bytes of an IDX file of unsigned bytes; the fourth is the number of dimensions."""

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
"""The four files in which MNIST and its relatives come, gzipped or not."""


NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
"""The arrays of a data set in a NumPy archive."""


def damaged(path: Path, problem: object, expected: str) -> InputError:
    """Returns the error for a file that is not what its name says."""
    return InputError(f"{path} is damaged: {problem}; expected {expected}. Delete it and get it again.")


@contextmanager
def opened(path: Path) -> Iterator[Callable[[int], bytes]]:
    """Yields what reads so many of the next bytes of a file, decompressed if it is gzip; fewer only at its end.

    Memory follows what there is, and not what a header or a caller asks for.

    Raises:
        InputError: It cannot be read, or its compression is damaged.
    """
    try:
        with open_to_read(path) as file:
            zipped = file.peek(2)[:2] == b"\x1f\x8b"
            with gzip.open(file) if zipped else nullcontext(file) as stream:

                def read(most: int) -> bytes:
                    pieces: list[bytes] = []
                    while most > 0 and (piece := stream.read(min(most, CHUNK))):
                        pieces.append(piece)
                        most -= len(piece)
                    return b"".join(pieces)

                yield read
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}. Delete it and get it again.") from error


def read_bytes(path: Path, expected: str) -> bytes:
    """Returns the content of a file, decompressed if it is gzip.

    Raises:
        InputError: It cannot be read, its compression is damaged, or it has more than `MOST` bytes.
    """
    with opened(path) as read:
        content = read(MOST + 1)
    if len(content) > MOST:
        raise damaged(path, f"it has more than {MOST:,} bytes", expected)
    return content


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
    expected = f"an IDX file of unsigned bytes with {dimensions} dimensions"
    with opened(path) as read:
        header = read(4 + 4 * dimensions)
        if header[:4] != IDX_UINT8 + bytes([dimensions]) or len(header) < 4 + 4 * dimensions:
            raise damaged(path, f"it starts with {header[:4]!r}", expected)
        shape = tuple(int(length) for length in np.frombuffer(header, ">u4", dimensions, offset=4))
        if prod(shape) > MOST:
            raise damaged(
                path, f"its header says that it has {prod(shape):,} bytes", f"{expected}, at most {MOST:,} bytes"
            )
        content = read(prod(shape) + 1)
    if prod(shape) != len(content):
        raise damaged(path, f"it has {len(content)} bytes for shape {shape}", expected)
    return np.frombuffer(content, np.uint8).reshape(shape)


def find_idx(folder: Path) -> list[Path] | None:
    """Returns the four files of `IDX_FILES` in a folder, in that order; None unless all are there."""
    paths = []
    for name in IDX_FILES:
        paths += [path for path in (folder / f"{name}.gz", folder / name) if path.is_file()][:1]
    return paths if len(paths) == len(IDX_FILES) else None


def read_npz(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> list[Any]:
    """Reads arrays of a NumPy archive, refusing pickled objects; None for one that is optional and absent.

    Raises:
        InputError: The file is not an archive, is damaged, or lacks one of the names.
    """
    expected = f"a NumPy archive (np.savez) with the arrays {', '.join(names)}"
    arrays = read_arrays(path, [*names, *optional], expected)
    if missing := [name for name in names if name not in arrays]:
        have = ", ".join(arrays)
        raise InputError(f"{path} has no array {', '.join(missing)}, only {have}; expected {expected}.")
    return [arrays.get(name) for name in (*names, *optional)]


def read_arrays(path: Path, names: Collection[str] | None, expected: str) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a NumPy archive by name; empty ones for those that are not among `names`, if given.

    What a header says is checked against the archive's own figures, and those against the file and the memory, before
    anything is allocated.

    Raises:
        InputError: It cannot be read, or is not what was expected.
    """
    try:
        with open_to_read(path) as file:
            if file.peek(6)[:6] == np.lib.format.MAGIC_PREFIX:
                raise InputError(f"{path} holds one array; expected {expected}.")
            with ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                wanted = [name for name in members if names is None or name in names]
                _check_sizes(path, [members[name] for name in wanted])
                empty = dict.fromkeys(members, np.empty(0))
                return empty | {name: _read_member(archive, members[name]) for name in wanted}
    except InputError:
        raise
    except Exception as error:  # damaged bytes make zipfile, its decompressors and NumPy raise nearly anything
        reason = "there is not enough memory for it" if isinstance(error, MemoryError) else error
        raise InputError(f"{path} cannot be read: {reason}; expected {expected}.") from error


def _check_sizes(path: Path, members: Sequence[ZipInfo]) -> None:
    """Raises ValueError if members say that they are larger than the file or the memory can make them."""
    if encrypted := [info.filename for info in members if info.flag_bits & 1]:
        raise ValueError(f"{encrypted[0]} is encrypted")
    for info in members:
        most = {ZIP_STORED: 1, ZIP_DEFLATED: MOST_DEFLATED}.get(info.compress_type)
        if info.compress_size > path.stat().st_size or (most and info.file_size > most * info.compress_size):
            raise ValueError(f"{info.filename} says that it has {info.file_size:,} bytes, which it cannot have")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if (total := sum(info.file_size for info in members)) > memory:
        raise ValueError(
            f"its arrays say that they have {total:,} bytes, more than the {memory:,} of this machine's memory"
        )


def _read_member(archive: ZipFile, info: ZipInfo) -> NDArray[Any]:
    """Reads one array; ValueError if its header does not fit its size, or it holds objects."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version not in _HEADERS:
            raise ValueError(f"{info.filename} has version {version} of NumPy's format, expected 1.0 or 2.0")
        shape, _, dtype = _HEADERS[version](member)
        says, has = prod(shape) * dtype.itemsize, info.file_size - member.tell()
        if says != has and not dtype.hasobject:
            raise ValueError(f"{info.filename} has {has:,} bytes, and by its header {says:,}")
    with archive.open(info) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # also has its checksum compared
            raise ValueError(f"{info.filename} goes on after its array")
        return array


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
    expected = f"lines of {columns} comma-separated integers in 0..255"
    content = read_bytes(path, expected).replace(b"\r", b"")
    text = np.frombuffer(content if content.endswith(b"\n") else content + b"\n", np.uint8)
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

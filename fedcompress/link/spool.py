"""The replies of one call, in the memory of a few models: what is more is in a temporary file until it is read.

None can be used before all have come: whether a reply is plausible is seen from the median over all of them, and a
weighted mean begins with the sum of its weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import prod
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import RunError
from fedcompress.wire.content import Arrays, Payload

MEMORY_LIMIT = 256 * 2**20
"""Bytes of a call's decoded replies that stay in memory."""

_Array = tuple[int, str, tuple[int, ...]]
"""Of an array in the file: offset in bytes, NumPy's name of its type, shape."""


class Stored(Mapping[str, Arrays]):
    """A payload whose contents are read when they are asked for, each time anew.

    Args:
        contents: Content name -> returns its arrays.
    """

    def __init__(self, contents: Mapping[str, Callable[[], Arrays]]) -> None:
        self._contents = contents

    def __getitem__(self, name: str) -> Arrays:
        return self._contents[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._contents)

    def __len__(self) -> int:
        return len(self._contents)

    def __contains__(self, name: object) -> bool:
        return name in self._contents


class Spool:
    """Takes payloads in, and gives each back as often as it is wanted, to any thread.

    Args:
        limit: Bytes that stay in memory, `MEMORY_LIMIT` by default; what comes when they are used up goes to the file.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._free = MEMORY_LIMIT if limit is None else limit
        self._file: IO[bytes] | None = None
        self._lock = Lock()

    def put(self, payload: Payload) -> Payload:
        """Returns a payload that holds the same, in less memory.

        Raises:
            RunError: The temporary file cannot be written.
        """
        size = sum(array.nbytes for arrays in payload.values() for array in arrays)
        if size <= self._free:
            self._free -= size
            return payload
        with self._using_file() as file:
            written = {name: _write(file, arrays) for name, arrays in payload.items()}
            file.flush()  # a disk that is full says so now
        return Stored({name: partial(self._read, places) for name, places in written.items()})

    def _read(self, places: list[_Array]) -> Arrays:
        with self._using_file() as file:
            return [_read(file, *place) for place in places]

    @contextmanager
    def _using_file(self) -> Iterator[IO[bytes]]:
        """Lends the file to one thread at a time; its position is shared by all.

        Raises:
            RunError: It cannot be written or read.
        """
        try:
            with self._lock:
                if self._file is None:
                    self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed with the last payload that is in it
                yield self._file
        except OSError as error:
            raise RunError(
                f"what clients returned cannot be kept in a temporary file in {tempfile.tempdir}: "
                f"{error.strerror or error}; make room there, or set TMPDIR to another folder, and resume the run."
            ) from error


def _write(file: IO[bytes], arrays: Arrays) -> list[_Array]:
    places = []
    for array in arrays:
        places.append((file.seek(0, 2), array.dtype.str, array.shape))
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return places


def _read(file: IO[bytes], offset: int, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    file.seek(offset)
    return np.fromfile(file, dtype, prod(shape)).reshape(shape)

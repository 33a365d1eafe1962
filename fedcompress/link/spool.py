"""The replies of one call, in the memory of a few models: what is more is in a temporary file until it is read.

None can be used before all have come: whether a reply is plausible is seen from the median over all of them, and a
weighted mean begins with the sum of its weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from typing import IO

import numpy as np

from fedcompress.wire.content import Arrays, Payload

MEMORY_LIMIT = 64 * 2**20
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
    """Takes payloads in, and gives each back as often as it is wanted.

    Args:
        limit: Bytes that stay in memory, `MEMORY_LIMIT` by default; what comes when they are used up goes to the file.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._free = MEMORY_LIMIT if limit is None else limit
        self._file: IO[bytes] | None = None

    def put(self, payload: Payload) -> Payload:
        """Returns a payload that holds the same, in less memory."""
        size = sum(array.nbytes for arrays in payload.values() for array in arrays)
        if size <= self._free:
            self._free -= size
            return payload
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed when nobody holds a payload of it any more
        return Stored({name: partial(_read, self._file, self._write(arrays)) for name, arrays in payload.items()})

    def _write(self, arrays: Arrays) -> list[_Array]:
        assert self._file is not None
        written = []
        for array in arrays:
            written.append((self._file.seek(0, 2), array.dtype.str, array.shape))
            self._file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return written


def _read(file: IO[bytes], arrays: list[_Array]) -> Arrays:
    found = []
    for offset, dtype, shape in arrays:
        file.seek(offset)
        found.append(np.fromfile(file, dtype, prod(shape)).reshape(shape))
    return found

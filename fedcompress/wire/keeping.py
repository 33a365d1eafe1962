"""What a client keeps between exchanges: Flower's records as bytes, and large arrays beside them, by their digests.

Arrays that stay as they are, and those that many clients keep, are digested and written once, however often and by
whomever they are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from numpy.typing import NDArray

Data = bytes | memoryview
"""Of an array; a view of a file where it is on disk."""

_RAW: Final = "fedcompress.raw"
"""How Flower names the serialisation of an array whose data are its elements."""
_APART: Final = "fedcompress.apart"
"""The same of an array whose data are elsewhere, under the digest that stands in their place."""
_LARGE: Final = 1 << 16
_DIGEST: Final = "_fedcompress_digest"


def digest_of(data: Data) -> str:
    """Returns the name under which data is kept."""
    return sha256(data).hexdigest()[:32]


@dataclass(frozen=True)
class Kept:
    """What a client keeps.

    Attributes:
        records: Serialised, without large arrays; empty for nothing.
        arrays: Digest -> data of the large arrays.
    """

    records: bytes = b""
    arrays: Mapping[str, Data] = field(default_factory=dict)

    @classmethod
    def of(cls, records: RecordDict) -> Kept:
        """Returns records as they are kept."""
        apart: dict[str, Data] = {}
        small = RecordDict()
        for key, record in records.items():
            if isinstance(record, ArrayRecord):
                record = ArrayRecord({name: _apart(array, apart) for name, array in record.items()})
            small[key] = record
        return cls(bytes(recorddict_to_proto(small).SerializeToString()), apart)

    def restored(self) -> RecordDict:
        """Returns the records again."""
        records = recorddict_from_proto(ProtoRecordDict.FromString(self.records))
        for record in records.array_records.values():
            for name, array in list(record.items()):
                if array.stype == _APART:
                    record[name] = _array(array.dtype, array.shape, self.arrays[array.data.decode()])
                    record[name].__dict__[_DIGEST] = array.data.decode()
        return records

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, (self.records, {name: bytes(data) for name, data in self.arrays.items()})


def _apart(array: Array, apart: dict[str, Data]) -> Array:
    """Returns what stands for an array, whose data goes into `apart` if it is large."""
    if array.stype != _RAW or len(array.data) < _LARGE:
        return array
    name = array.__dict__.setdefault(_DIGEST, None) or digest_of(array.data)
    array.__dict__[_DIGEST] = name
    apart[name] = array.data
    return Array(array.dtype, tuple(array.shape), _APART, name.encode())


def _array(dtype: str, shape: Sequence[int], data: Data) -> Array:
    array = Array(dtype, tuple(shape), _RAW, b"")
    array.data = data  # type: ignore[assignment]  # a view of a file need not be read to be an array
    return array


class Shelf:
    """Arrays on their way into records and out of them: one that comes out and goes in again is the very same."""

    def __init__(self) -> None:
        self._taken: dict[int, tuple[NDArray[Any], Array]] = {}
        """With the arrays, since they are told apart by their `id`."""

    def take(self, record: ArrayRecord) -> list[NDArray[Any]]:
        """Returns the arrays of a record; they are not to be changed."""
        return [self._numbers(array) for array in record.values()]

    def _numbers(self, array: Array) -> NDArray[Any]:
        if array.stype != _RAW:  # of an earlier version
            return array.numpy()
        numbers = np.frombuffer(array.data, array.dtype).reshape(array.shape)
        self._taken[id(numbers)] = numbers, array
        return numbers

    def record(self, arrays: Sequence[NDArray[Any]]) -> ArrayRecord:
        """Returns arrays as a record."""
        record = ArrayRecord()
        for name, array in self._named(arrays):
            record[name] = array  # the very object, which knows its digest
        return record

    def _named(self, arrays: Sequence[NDArray[Any]]) -> Iterator[tuple[str, Array]]:
        for i, numbers in enumerate(map(np.asarray, arrays)):
            if id(numbers) not in self._taken:
                plain = numbers.dtype.fields is None
                array = _array(numbers.dtype.str, numbers.shape, numbers.tobytes()) if plain else Array(numbers)
                self._taken[id(numbers)] = numbers, array
            yield str(i), self._taken[id(numbers)][1]

"""Flower's messages and records where both ends are on one machine: the data of arrays is handed over, not copied.

Flower builds a message by nesting protobuf messages, and each level copies what is in it: of a model of 23 MB some ten
times, a tenth of a second. Here arrays are taken out first, so that what is built is small; what is shared are `bytes`,
which nobody can change. How long the message would be is known to the byte all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.app.message.message import make_message
from flwr.common.serde import (
    message_from_proto,
    message_to_proto,
    recorddict_from_proto,
    recorddict_to_proto,
)
from flwr.common.serde_utils import metadata_from_proto, metadata_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.recorddict_pb2 import Array as ProtoArray
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict


@dataclass(frozen=True, eq=False)
class Crossing:
    """A message as it crosses, and what of it is not copied.

    Attributes:
        frame: The message as Flower serialises it, with empty arrays.
        arrays: Those arrays, in the order of the message.
    """

    frame: ProtoMessage
    arrays: Sequence[Array] = ()

    @classmethod
    def of(cls, message: Message) -> Crossing:
        """Returns a message as it crosses."""
        if not message.has_content():
            return cls(message_to_proto(message))
        content, arrays = _emptied(message.content)
        return cls(ProtoMessage(metadata=metadata_to_proto(message.metadata), content=content), arrays)

    @property
    def message(self) -> Message:
        """The message that arrives: another one, whose arrays have the same data."""
        if not self.frame.HasField("content"):
            return message_from_proto(self.frame)
        return make_message(metadata_from_proto(self.frame.metadata), _filled(self.frame.content, self.arrays))

    @property
    def size(self) -> int:
        """Length of the message as Flower serialises it, in bytes."""
        bare, content = self.frame.ByteSize(), self.frame.content
        if not self.arrays:
            return int(bare)
        return int(bare - _field(content.ByteSize()) + _field(_filled_size(content, self.arrays)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _crossing, (self.frame.SerializeToString(), [bytes(array.data) for array in self.arrays])


def _crossing(frame: bytes, data: Sequence[bytes]) -> Crossing:
    """Undoes pickling."""
    message = ProtoMessage.FromString(frame)
    return Crossing(message, _arrays(message.content, data))


def _emptied(records: RecordDict) -> tuple[ProtoRecordDict, list[Array]]:
    """Returns records as Flower serialises them, without the data of their arrays, and these."""
    frame, arrays = ProtoRecordDict(), list[Array]()
    for key, record in records.items():
        if isinstance(record, ArrayRecord):
            item = frame.items.add(key=key)
            item.array_record.SetInParent()
            for name, array in record.items():
                item.array_record.items.add(key=name).value.MergeFrom(_declared(array))
                arrays.append(array)
        else:
            frame.items.extend(recorddict_to_proto(RecordDict({key: record})).items)
    return frame, arrays


def _declared(array: Array) -> ProtoArray:
    return ProtoArray(dtype=array.dtype, shape=array.shape, stype=array.stype)


def _filled(frame: ProtoRecordDict, arrays: Sequence[Array]) -> RecordDict:
    """Undoes `_emptied`: the arrays are others, with the same data."""
    records, rest = RecordDict(), iter(arrays)
    for item in frame.items:
        if item.HasField("array_record"):
            record = ArrayRecord()
            for entry in item.array_record.items:
                record[entry.key] = copy(next(rest))  # with what this process knows of it
            records[item.key] = record
        else:
            records.update(recorddict_from_proto(ProtoRecordDict(items=[item])))
    return records


def _arrays(frame: ProtoRecordDict, data: Sequence[bytes]) -> list[Array]:
    """Returns the arrays of a frame, given their data."""
    empty = (entry.value for item in frame.items for entry in item.array_record.items)
    return [Array(e.dtype, tuple(e.shape), e.stype, held) for e, held in zip(empty, data, strict=True)]


def _filled_size(frame: ProtoRecordDict, arrays: Sequence[Array]) -> int:
    """Returns the bytes that records take with their arrays filled."""
    lengths = (len(array.data) for array in arrays)
    return sum(_field(_item_size(item, lengths)) for item in frame.items)


def _item_size(item: Any, lengths: Iterator[int]) -> int:
    if not item.HasField("array_record"):
        return int(item.ByteSize())
    record = sum(_field(_entry_size(entry, next(lengths))) for entry in item.array_record.items)
    return int(item.ByteSize() - _field(item.array_record.ByteSize()) + _field(record))


def _entry_size(entry: Any, length: int) -> int:
    bare = entry.value.ByteSize()
    return int(entry.ByteSize() - _field(bare) + _field(bare + (_field(length) if length else 0)))


def _field(length: int) -> int:
    """Returns the bytes of a field of protobuf that holds so many: a tag, the length in groups of 7 bits, and they."""
    return 1 + max(1, (length.bit_length() + 6) // 7) + length

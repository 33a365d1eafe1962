"""Encoded contents as Flower records, and the size of a whole Flower message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # Flower reads it when it is imported

from flwr.app import Array, ArrayRecord, Message

from fedcompress.errors import PayloadError
from fedcompress.wire.codec import Encoded
from fedcompress.wire.crossing import Crossing

STYPE: Final = "fedcompress.v1"
"""How Flower names the serialisation of an array: here, a stream of `fedcompress.wire.stream`."""


_ENCODED: Final = "_fedcompress_encoded"


def to_record(contents: Mapping[str, bytes | Encoded]) -> ArrayRecord:
    """Returns a record with one opaque array per content."""
    record = ArrayRecord()
    for name, content in contents.items():
        record[name] = _array(content)  # the very object: a record that is made of a dict holds others
    return record


def _array(content: bytes | Encoded) -> Array:
    data = content.data if isinstance(content, Encoded) else content
    array = Array("uint8", (len(data),), STYPE, data)
    if isinstance(content, Encoded):
        array.__dict__[_ENCODED] = content  # goes wherever this very object goes, and is never serialised
    return array


def from_record(record: ArrayRecord) -> dict[str, bytes]:
    """Undoes `to_record`.

    Raises:
        PayloadError: The record holds something else.
    """
    blobs = {}
    for name, array in record.items():
        received = (array.stype, array.dtype, tuple(array.shape))
        expected = (STYPE, "uint8", (len(array.data),))
        if received != expected:
            raise PayloadError(f"{name} is an array {received}, expected {expected}.")
        blobs[name] = array.data
    return blobs


def known_in(record: ArrayRecord) -> dict[str, Encoded]:
    """Returns the contents of a record that this process has encoded itself, so that it need not decode them.

    An array that has been serialised on its way knows nothing of it.
    """
    known = {name: array.__dict__.get(_ENCODED) for name, array in record.items()}
    return {name: item for name, item in known.items() if item is not None and item.data is record[name].data}


def message_bytes(message: Message) -> int:
    """Returns the length of a message as Flower serialises it: contents, their frames, configuration and metadata."""
    return Crossing.of(message).size

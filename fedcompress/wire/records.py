"""Encoded contents as Flower records, and the size of a whole Flower message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # Flower reads it when it is imported

from flwr.app import Array, ArrayRecord, Message
from flwr.common.serde import message_to_proto

from fedcompress.errors import PayloadError

STYPE: Final = "fedcompress.v1"
"""How Flower names the serialisation of an array: here, a stream of `fedcompress.wire.stream`."""


def to_record(blobs: Mapping[str, bytes]) -> ArrayRecord:
    """Returns a record with one opaque array per content."""
    return ArrayRecord({name: Array("uint8", (len(blob),), STYPE, blob) for name, blob in blobs.items()})


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


def message_bytes(message: Message) -> int:
    """Returns the length of a message as Flower serialises it: contents, their frames, configuration and metadata."""
    return int(message_to_proto(message).ByteSize())

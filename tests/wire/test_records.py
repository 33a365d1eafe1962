"""Flower records: what they add to a message, and what is refused."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from fedcompress.errors import PayloadError
from fedcompress.wire.records import STYPE, from_record, message_bytes, to_record

from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict  # isort: skip
from flwr.common.serde import message_from_proto, message_to_proto  # isort: skip
from flwr.supercore.task_identity import TaskIdentity  # isort: skip

BLOBS = {"weights": bytes(range(256)) * 4, "mask": b"\x01", "logits": b""}


@pytest.fixture(autouse=True)
def identity() -> Iterator[None]:
    """Flower builds messages only in a process that knows its task."""
    before = TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    yield
    TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = before


def message(blobs: dict[str, bytes], round_number: int = 1) -> Message:
    content = RecordDict(
        {
            "payload": to_record(blobs),
            "config": ConfigRecord({"round": round_number, "codec": "sparse", "seed": b"12"}),
            "metrics": MetricRecord({"train_loss": 0.25, "examples": 600}),
        }
    )
    return Message(content, dst_node_id=7, message_type="train")


def test_blobs_survive_the_wire() -> None:
    received = message_from_proto(message_to_proto(message(BLOBS)))
    assert from_record(received.content["payload"]) == BLOBS
    assert list(from_record(received.content["payload"])) == list(BLOBS)


def test_size_is_that_of_the_serialised_message() -> None:
    sent = message(BLOBS)
    assert message_bytes(sent) == len(message_to_proto(sent).SerializeToString())


def test_every_byte_of_a_content_is_a_byte_of_the_message() -> None:
    """The envelope grows only where a length takes one more byte in protobuf (7 bits each)."""
    base = message_bytes(message({"weights": bytes(1000)}))
    assert message_bytes(message({"weights": bytes(1500)})) == base + 500
    assert base - 1000 < 400


def test_reply_and_error_have_a_size() -> None:
    request = message(BLOBS)
    assert message_bytes(Message(request.content, reply_to=request)) > sum(map(len, BLOBS.values()))
    assert 0 < message_bytes(Message(Error(2, "out of memory"), reply_to=request)) < 200


def test_times_do_not_change_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Creation time and time to live are doubles, 8 bytes whatever their value."""
    sizes = set()
    for created, ttl in itertools.product([1.0, 1.7e9, 1.7e9 + 1 / 3], [60.0, 43_200.123]):
        sent = message(BLOBS)
        sent.metadata.created_at = created
        sent.metadata.ttl = ttl
        sizes.add(message_bytes(sent))
    assert len(sizes) == 1


def test_telemetry_is_off() -> None:
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"


@pytest.mark.parametrize(
    "array",
    [
        Array("uint8", (3,), "numpy.ndarray", b"abc"),
        Array("float32", (3,), STYPE, b"abc"),
        Array("uint8", (4,), STYPE, b"abc"),
        Array("uint8", (3, 1), STYPE, b"abc"),
    ],
)
def test_other_arrays_are_refused(array: Array) -> None:
    with pytest.raises(PayloadError, match=r"weights is an array .*, expected \('fedcompress.v1', 'uint8', \(3,\)\)"):
        from_record(ArrayRecord({"weights": array}))

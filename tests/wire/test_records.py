"""Flower records: what they add to a message, and what is refused."""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import Iterator

import numpy as np
import pytest

from fedcompress.errors import PayloadError
from fedcompress.wire.codec import Encoded
from fedcompress.wire.crossing import Crossing
from fedcompress.wire.records import STYPE, from_record, known_in, message_bytes, to_record

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


@pytest.mark.parametrize("length", [0, 1, 41, 127, 128, 300, 16_383, 16_384, 2**21, 2**21 + 5])
def test_size_is_known_without_the_message_being_made(length: int) -> None:
    """At each of its levels a length takes another byte from 2^7, 2^14 and 2^21 on."""
    sent = message({"weights": bytes(length), "mask": b"\x01", "none": b""})
    assert Crossing.of(sent).size == len(message_to_proto(sent).SerializeToString())


def test_a_crossing_shares_data_and_nothing_else() -> None:
    sent = message(BLOBS)
    arrived = Crossing.of(sent).message
    assert message_to_proto(arrived) == message_to_proto(sent)
    assert arrived.content["payload"]["weights"].data is BLOBS["weights"]
    assert arrived.content["config"] is not sent.content["config"]
    arrived.content["payload"]["mask"] = Array("uint8", (1,), STYPE, b"\x00")
    assert from_record(sent.content["payload"]) == BLOBS


def test_a_crossing_survives_pickling() -> None:
    sent = message(BLOBS)
    arrived = pickle.loads(pickle.dumps(Crossing.of(sent)))
    assert arrived.size == message_bytes(sent)
    assert from_record(arrived.message.content["payload"]) == BLOBS


def test_what_was_encoded_is_known_in_this_process_alone() -> None:
    item = Encoded(b"\x05", [np.zeros(1)], 4, lambda: 0.0)
    crossing = Crossing.of(Message(RecordDict({"payload": to_record({"weights": item})}), 7, "train"))
    assert known_in(crossing.message.content["payload"]) == {"weights": item}
    assert known_in(pickle.loads(pickle.dumps(crossing)).message.content["payload"]) == {}
    changed = crossing.message.content["payload"]
    changed["weights"].data = b"\x06"
    assert known_in(changed) == {}
    assert known_in(crossing.message.content["payload"]) == {"weights": item}

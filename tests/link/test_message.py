"""Requests and answers as Flower messages: what is absent does not cross, and both ends read the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fedcompress.engines.grid import identify
from fedcompress.errors import PayloadError
from fedcompress.link.message import (
    Answer,
    Request,
    action_of,
    partition_answer,
    partition_of,
    partition_question,
)
from fedcompress.wire.codec import Encoded
from fedcompress.wire.crossing import Crossing

identify()
PLAIN = Request("train", 3, {"weights": b"\x01\x02", "mask": b""})
FULL = Request("look", 3, {}, exchange=769, accepted=0, fresh=True, measured=True, tested=True, debug=True)


@pytest.mark.parametrize("request_", [PLAIN, FULL])
def test_a_request_crosses_as_it_is(request_: Request) -> None:
    message = Crossing.of(request_.message(node=7)).message
    assert Request.of(message) == request_
    assert (message.metadata.message_type, message.metadata.dst_node_id) == (f"train.{request_.action}", 7)
    assert message.metadata.group_id == "3"


def test_what_is_absent_or_false_does_not_cross() -> None:
    assert dict(PLAIN.message(node=7).content.config_records["request"]) == {"round": 3}
    assert FULL.message(node=7).content.config_records["request"]["accepted"] == 0


def test_only_messages_of_type_train_ask_for_an_action() -> None:
    assert action_of(PLAIN.message(node=7)) == "train"
    assert action_of(partition_question(node=7)) is None


@pytest.mark.parametrize("digest", [None, "ab12" * 16])
def test_an_answer_crosses_as_it_is(digest: str | None) -> None:
    encoded = {"weights": Encoded(b"\x05", [np.zeros(1)], 4, lambda: 0.0)}
    request = PLAIN.message(node=7)
    request.metadata.__dict__["_message_id"] = "one"
    answer = Answer(Crossing.of(Answer.to(request, encoded, {"train_loss": 0.5}, digest)).message)
    assert answer.blobs == {"weights": b"\x05"}
    assert answer.metrics == {"train_loss": 0.5}
    assert answer.model_digest == ({} if digest is None else {"model_digest": digest})


@pytest.mark.parametrize(
    "digest", [b"\xff" * 64, [b"\xff"], ["ab12" * 16], "AB12" * 16, "ab12", "ab12" * 16 + "\n", 7, 0.5]
)
def test_a_digest_that_is_none_is_refused(digest: Any) -> None:
    records = RecordDict({"report": ConfigRecord({"model_digest": digest})})
    with pytest.raises(PayloadError, match=r"model_digest is .*, expected a SHA-256 of 64 hexadecimal digits"):
        _ = Answer(Message(records, dst_node_id=7, message_type="train.act")).model_digest


def test_a_node_says_which_partition_it_holds() -> None:
    question = partition_question(node=7)
    question.metadata.__dict__["_message_id"] = "one"
    assert partition_of(Crossing.of(partition_answer(question, 5)).message) == 5


def test_an_answer_without_metrics_is_an_error_of_the_client() -> None:
    message = Message(RecordDict(), dst_node_id=7, message_type="train.act")
    with pytest.raises(KeyError):
        _ = Answer(message).metrics

"""What crosses in an exchange: a request and its answer, as Flower messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from fedcompress.errors import PayloadError, shown
from fedcompress.wire.codec import Encoded
from fedcompress.wire.records import from_record, known_in, to_record

ACTION: Final = "train"
"""Flower's type of a message that asks for the action NAME is `train.NAME`."""
_WHICH_PARTITION: Final = "query.partition"
_SHA256: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Request:
    """What the server asks a client to do.

    Attributes:
        action: Name of the action.
        round: Number of the round.
        blobs: Content name -> its bytes.
        exchange: Number of this exchange; None where no content has error feedback, and no client shares state.
        accepted: Number of the exchange whose reply the server took last, 0 for none; None as `exchange`.
        fresh: Whether the client begins with the references that both ends make from the seed.
        measured: Whether it reports the accuracy of its model on its own distribution.
        tested: Whether it tests its model on the whole test set, and reports its digest.
        debug: Whether its errors show where they come from.
        known: Content name -> what its bytes were encoded from, where that was in this process.
    """

    action: str
    round: int
    blobs: Mapping[str, bytes]
    exchange: int | None = None
    accepted: int | None = None
    fresh: bool = False
    measured: bool = False
    tested: bool = False
    debug: bool = False
    known: Mapping[str, Encoded] = field(default_factory=dict, compare=False)

    def message(self, node: int) -> Message:
        """Returns the request as a message to a node; what is absent or false does not cross."""
        numbers = {name: value for name, value in vars(self).items() if name not in ("action", "blobs", "known")}
        telling = {name: value for name, value in numbers.items() if value is not None and value is not False}
        payload = to_record({**self.blobs, **self.known})
        content = RecordDict({"payload": payload, "request": ConfigRecord(telling)})
        return Message(content, dst_node_id=node, message_type=f"{ACTION}.{self.action}", group_id=str(self.round))

    @classmethod
    def of(cls, message: Message) -> Request:
        """Undoes `message`.

        Raises:
            PayloadError: The contents are no streams of ours.
        """
        numbers: dict[str, Any] = dict(message.content.config_records["request"])
        payload = message.content.array_records["payload"]
        blobs = from_record(payload)
        return cls(action_of(message) or "", blobs=blobs, known=known_in(payload), **numbers)


def action_of(message: Message) -> str | None:
    """Returns the action that a message asks for; None for a message that asks for something else."""
    kind, _, action = message.metadata.message_type.partition(".")
    return action if kind == ACTION else None


@dataclass(frozen=True)
class Answer:
    """A client's answer, as the server reads it: nothing of it is trusted, so each part is read when it is wanted."""

    message: Message

    @staticmethod
    def to(
        request: Message, encoded: Mapping[str, Encoded], metrics: Mapping[str, float], digest: str | None
    ) -> Message:
        """Returns the answer to a request, as a message.

        Args:
            request: What is answered.
            encoded: The contents.
            metrics: What the client reports, and what was measured.
            digest: Of the client's own model, where it was tested.
        """
        content: dict[str, Any] = {
            "payload": to_record(encoded),
            "metrics": MetricRecord(dict(metrics)),
        }
        if digest is not None:
            content["report"] = ConfigRecord({"model_digest": digest})
        return Message(RecordDict(content), reply_to=request)

    @property
    def metrics(self) -> dict[str, Any]:
        """What the client reports, and what it measured."""
        return dict(self.message.content.metric_records["metrics"])

    @property
    def blobs(self) -> dict[str, bytes]:
        """Content name -> its bytes."""
        return from_record(self.message.content.array_records["payload"])

    @property
    def known(self) -> dict[str, Encoded]:
        """Content name -> what its bytes were encoded from, where that was in this process."""
        return known_in(self.message.content.array_records["payload"])

    @property
    def model_digest(self) -> dict[str, Any]:
        """The digest of the client's own model as a column of its row; nothing if it was not tested.

        Raises:
            PayloadError: It is no SHA-256.
        """
        report = self.message.content.config_records.get("report")
        if not report:
            return {}
        digest = report["model_digest"]
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise PayloadError(f"model_digest is {shown(digest)}, expected a SHA-256 of 64 hexadecimal digits")
        return {"model_digest": digest}


def partition_question(node: int) -> Message:
    """Returns the message that asks a node which share of the data it holds: Flower's node ids are random."""
    return Message(RecordDict(), dst_node_id=node, message_type=_WHICH_PARTITION)


def partition_answer(question: Message, partition: int) -> Message:
    """Returns a node's answer to that."""
    return Message(RecordDict({"answer": ConfigRecord({"partition": partition})}), reply_to=question)


def partition_of(answer: Message) -> int:
    """Returns the partition that a node says it holds; -1 if it says none."""
    partition = answer.content.config_records.get("answer", ConfigRecord()).get("partition")
    return partition if isinstance(partition, int) else -1

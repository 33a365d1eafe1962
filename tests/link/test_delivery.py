"""Messages reach clients one by one, on our own grids and over a network, and nothing waits in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Event
from time import sleep
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid

from fedcompress.engines.grid import identify
from fedcompress.engines.inline import InlineGrid
from fedcompress.errors import RunError
from fedcompress.link import delivery
from fedcompress.link.delivery import deliver, discover
from fedcompress.link.message import partition_answer


def message(node: int) -> Message:
    return Message(RecordDict({"number": ConfigRecord({"node": node})}), dst_node_id=node, message_type="train.act")


def node_of(reply: Message | None) -> Any:
    return None if reply is None else reply.content.config_records["number"]["node"]


class Network(Grid):
    """A grid as those of Flower's runtime. Some nodes never answer, and messages to some are refused.

    Attributes:
        pushed: Messages of each push.
        pulled: Identities of each pull.
    """

    def __init__(
        self, silent: Iterable[int] = (), refused: Iterable[int] = (), partitions: tuple[Any, ...] = ()
    ) -> None:
        identify()
        self.silent, self.refused, self.of_nodes = set(silent), set(refused), partitions
        self.pushed: list[int] = []
        self.pulled: list[int] = []
        self._answers: dict[str, Message] = {}

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any: ...

    def create_message(self, *_: Any, **__: Any) -> Any: ...

    def get_node_ids(self) -> Iterable[int]:
        return range(1, len(self.of_nodes) + 1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        self.pushed.append(len(sent))
        for one in sent:
            node = one.metadata.dst_node_id
            one.metadata.__dict__["_message_id"] = f"message {node}"
            if node not in self.silent:
                self._answers[f"message {node}"] = Message(one.content, reply_to=one)
        return [one.metadata.message_id for one in sent if one.metadata.dst_node_id not in self.refused]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        names = list(message_ids)
        self.pulled.append(len(names))
        return [self._answers.pop(name) for name in names if name in self._answers]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return [partition_answer(sent, self.of_nodes[sent.metadata.dst_node_id - 1]) for sent in messages]


def test_over_a_network_messages_go_one_by_one_and_replies_come_a_few_at_a_time() -> None:
    network = Network()
    arrived = list(deliver(network, map(message, range(1, 11)), None))
    assert [(one.index, node_of(one.reply)) for one in arrived] == [(n, n + 1) for n in range(10)]
    assert all(one.sent_bytes > 0 for one in arrived)
    assert network.pushed == [1] * 10
    assert network.pulled == [4, 4, 2]


def test_what_does_not_come_in_time_or_is_refused_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSE", 0.01)
    network = Network(silent=[2], refused=[3])
    arrived = {one.index: node_of(one.reply) for one in deliver(network, map(message, range(1, 5)), 0.05)}
    assert arrived == {0: 1, 1: None, 2: None, 3: 4}


def test_nodes_elsewhere_are_asked_which_partition_they_hold() -> None:
    assert discover(Network(partitions=(2, 0, 1)), 3).keys() == {0, 1, 2}
    with pytest.raises(RunError, match=r"expected nodes for partitions 0 to 2, found \[0, 1\]; check --node-config"):
        discover(Network(partitions=(1, 0)), 3)
    with pytest.raises(RunError, match=r"found \[0, 1, 1, 2\]"):
        discover(Network(partitions=(2, 1, 0, 1)), 3)
    with pytest.raises(RunError, match=r"found \[-1, 0, 1\]"):
        discover(Network(partitions=(0, "two", 1)), 3)


def echo(message: Message, context: Context) -> Message:
    return Message(message.content, reply_to=message)


def made(log: list[int], count: int) -> Iterator[Message]:
    """Yields messages to all virtual clients, and notes when each is made."""
    for number in range(count):
        log.append(number)
        yield message(number + 2)


@pytest.mark.parametrize(("workers", "ahead"), [(1, 0), (2, 2), (3, 3)])
def test_a_message_is_made_when_a_client_can_run(workers: int, ahead: int) -> None:
    """With one thread each reply comes before the next message is made; with n, n + 1 messages are under way."""
    grid = InlineGrid(echo, 12, workers)  # type: ignore[arg-type]
    log: list[int] = []
    arrived = []
    for delivered in deliver(grid, made(log, 12), None):
        arrived.append(delivered.index)
        assert len(log) <= len(arrived) + ahead
    grid.close()
    assert sorted(arrived) == list(range(12))
    assert sum(grid.handed_over.values()) > 0


def test_an_error_while_a_message_is_made_reaches_the_caller() -> None:
    def broken() -> Iterator[Message]:
        yield message(2)
        raise ValueError("no second message")

    grid = InlineGrid(echo, 2, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no second message"):
        list(deliver(grid, broken(), None))
    grid.close()


def test_after_an_error_in_between_no_client_is_still_running() -> None:
    log: list[str] = []
    begun = Event()

    def slow(message: Message, context: Context) -> Message:
        begun.set()
        sleep(0.2)
        log.append("end")
        return echo(message, context)

    def broken() -> Iterator[Message]:
        yield message(2)
        begun.wait()
        raise ValueError("cannot be made")

    grid = InlineGrid(slow, 2, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be made"):
        list(deliver(grid, broken(), None))
    assert log == ["end"]
    grid.close()

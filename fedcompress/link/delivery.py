"""How messages reach clients, and replies the server, on any Flower grid: one by one, so that few are in memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, runtime_checkable

from flwr.app import Message
from flwr.serverapp import Grid

from fedcompress.errors import RunError
from fedcompress.link.message import partition_of, partition_question
from fedcompress.wire.records import message_bytes

AT_ONCE, PAUSE = 4, 1.0
"""Replies that are fetched over a network at a time, and seconds between asking for them."""


@dataclass(frozen=True)
class Delivery:
    """What came of one message.

    Attributes:
        index: Its position among those of the call.
        sent_bytes: Its length as it crossed.
        reply: None if there is none within the time limit.
        received_bytes: Its length as it crossed; 0 for none.
    """

    index: int
    sent_bytes: int
    reply: Message | None
    received_bytes: int = 0


@runtime_checkable
class VirtualNodes(Protocol):
    """What our own grids can do beyond Flower's interface: their nodes are in this program, state and all."""

    def partitions(self) -> dict[int, int]:
        """Returns partition -> node id."""

    def stream(self, messages: Iterable[Message], timeout: float | None = None) -> Iterator[Delivery]:
        """Sends each message when its client can run, and yields what comes of each as it comes."""


def deliver(grid: Grid, messages: Iterable[Message], timeout: float | None) -> Iterator[Delivery]:
    """Sends messages and yields what comes of each, as it comes.

    Args:
        grid: Any Flower grid.
        messages: At most one for a node; each is made only when it is sent.
        timeout: Seconds after which a reply counts as lost: from when its client starts on our own grids, from when
            all messages are sent on others.
    """
    if isinstance(grid, VirtualNodes):
        return grid.stream(messages, timeout)
    return _over_network(grid, messages, timeout)


def _over_network(grid: Grid, messages: Iterable[Message], timeout: float | None) -> Iterator[Delivery]:
    """Pushes messages one by one, and pulls a few replies at a time: what waits is at the other end of the network."""
    waiting: dict[str, Delivery] = {}
    for index, message in enumerate(messages):
        identity = next(iter(grid.push_messages([message])), None)
        sent = Delivery(index, message_bytes(message), None)
        if identity is None:  # Flower has logged why
            yield sent
        else:
            waiting[identity] = sent
    end = None if timeout is None else time.monotonic() + timeout
    while waiting and (end is None or time.monotonic() < end):
        before = len(waiting)
        names = iter(list(waiting))
        while some := list(islice(names, AT_ONCE)):
            for reply in grid.pull_messages(some):
                sent = waiting.pop(reply.metadata.reply_to_message_id)
                yield replace(sent, reply=reply, received_bytes=message_bytes(reply))
        if len(waiting) == before:
            time.sleep(PAUSE)
    yield from waiting.values()


def discover(grid: Grid, clients: int) -> dict[int, int]:
    """Returns partition -> node id: our own grids know it, nodes elsewhere are asked.

    Raises:
        RunError: The nodes do not hold every partition exactly once.
    """
    if isinstance(grid, VirtualNodes):
        return grid.partitions()
    questions = [partition_question(node) for node in grid.get_node_ids()]
    answers = [answer for answer in grid.send_and_receive(questions) if answer.has_content()]
    nodes = sorted((partition_of(answer), answer.metadata.src_node_id) for answer in answers)
    if (found := [partition for partition, _ in nodes]) != list(range(clients)):
        raise RunError(f"expected nodes for partitions 0 to {clients - 1}, found {found}; check --node-config")
    return dict(nodes)

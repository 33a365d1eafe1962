"""What our own grids share: Flower's node and message bookkeeping. Its private parts are touched in this file only."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedcompress.link.delivery import Delivery
from fedcompress.results.run.states import ClientStates
from fedcompress.wire.crossing import Crossing
from fedcompress.wire.keeping import Kept

RUN_ID = 1
SERVER_NODE = 1
FIRST_CLIENT = 2
"""Node id of partition 0."""
CLIENT_FAILED = 2
"""Flower's error code for an exception inside a ClientApp."""


def identify() -> None:
    """Tells Flower which task this process is, without which no message can be made."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN_ID, SERVER_NODE, 0


class ToClient(NamedTuple):
    """A message on its way to a virtual client.

    Attributes:
        number: Its position among those of the call.
        partition: The client's.
        message: As it crosses.
    """

    number: int
    partition: int
    message: Crossing


class LocalGrid(Grid):
    """A Flower grid whose nodes are virtual clients; a subclass says where they run.

    Node ids are partitions + `FIRST_CLIENT`. What arrives is another message than what was sent; the two share nothing
    but bytes, and what those were encoded from.

    Attributes:
        handed_over: Bytes of all messages that crossed, by direction.
    """

    def __init__(self, clients: int, states: ClientStates | None = None) -> None:
        identify()
        self._states = states or ClientStates()
        self.handed_over = {"downlink": 0, "uplink": 0}
        self._clients = clients
        self._run = Run.create_empty(RUN_ID)
        self._waiting: dict[str, Message] = {}

    @abstractmethod
    def deliver(
        self, requests: Iterator[ToClient], timeout: float | None
    ) -> Iterator[tuple[int, Crossing | str | None]]:
        """Runs requests on clients.

        Args:
            requests: Each is made when it is taken, so it is to be taken when there is somebody to run it.
            timeout: Seconds that one may take.

        Yields:
            What came of each, as it comes: its number, and a reply, an error as text, or None if it is lost.
        """

    def close(self) -> None:
        """Ends what the grid has started."""

    def partitions(self) -> dict[int, int]:
        """Returns partition -> node id."""
        return {partition: partition + FIRST_CLIENT for partition in range(self._clients)}

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.partitions().values())

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        for reply in self.send_and_receive(sent):
            self._waiting[reply.metadata.reply_to_message_id] = reply
        return [message.metadata.message_id for message in sent]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._waiting.pop(name) for name in list(message_ids) if name in self._waiting]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return [delivery.reply for delivery in self.stream(messages, timeout) if delivery.reply is not None]

    def stream(self, messages: Iterable[Message], timeout: float | None = None) -> Iterator[Delivery]:
        """Sends each message when its client can run, and yields what comes of each as it comes."""
        running: dict[int, tuple[Message, int]] = {}
        for number, answer in self.deliver(self._requests(messages, running), timeout):
            message, size = running.pop(number)
            reply, received = None, 0
            if isinstance(answer, Crossing):
                received = answer.size
                self.handed_over["uplink"] += received
                reply = answer.message
            elif isinstance(answer, str):
                reply = Message(Error(CLIENT_FAILED, answer), reply_to=message)
            yield Delivery(number, size, reply, received)

    def _requests(self, messages: Iterable[Message], running: dict[int, tuple[Message, int]]) -> Iterator[ToClient]:
        """Yields messages as they cross, and notes which are under way, and their sizes."""
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = uuid.uuid4().hex
            crossing = Crossing.of(message)
            size = crossing.size
            self.handed_over["downlink"] += size
            running[number] = message, size
            yield ToClient(number, message.metadata.dst_node_id - FIRST_CLIENT, crossing)


def answer(
    app: Callable[[Message, Context], Message], partition: int, clients: int, request: Crossing, state: Kept
) -> tuple[Crossing, Kept]:
    """Runs a ClientApp on a request of one virtual client; exceptions pass.

    Args:
        app: The client app.
        partition: The client's share of the data.
        clients: Number of clients.
        request: A message as it crosses.
        state: What the client kept.

    Returns:
        The reply, and what the client keeps now.
    """
    node_config: UserConfig = {"partition-id": partition, "num-partitions": clients}
    context = Context(RUN_ID, partition + FIRST_CLIENT, node_config, state.restored(), {})
    reply = Crossing.of(app(request.message, context))
    return reply, Kept.of(context.state)

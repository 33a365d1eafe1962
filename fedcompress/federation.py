"""What a server strategy sees of its clients: the only pipe between them.

A strategy hands over arrays and gets arrays back. On the way they are encoded, counted, sent by any Flower grid,
received, counted, decoded against their declaration, validated and sorted; what fails costs one client, not the run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fedcompress import columns
from fedcompress.devices import DROPPED_OUT, LATE, Modelled
from fedcompress.engines.grid import LocalGrid
from fedcompress.errors import LONGEST, PayloadError, RunError, described, one_line, printable_lines
from fedcompress.experiment import Experiment
from fedcompress.groups import ClientInfo
from fedcompress.plausibility import changes, implausible, parts, root_mean_square
from fedcompress.seeding import SERVER, generator
from fedcompress.wire.codec import Encoded
from fedcompress.wire.content import Arrays, Content, Payload
from fedcompress.wire.ledger import Direction, Transfer, transfers
from fedcompress.wire.payload import encode_payload, present, read_payload
from fedcompress.wire.records import from_record, message_bytes, to_record
from fedcompress.wire.references import Base, Contents, References, bases_of
from fedcompress.wire.value_type import ValueType

Encodings = Mapping[str, Encoded]
_BY_FLOWER = re.compile(r"<class 'fedcompress[\w.]*Error'>:<'(.*)'>", re.DOTALL)
"""How Flower's runtime writes an error of ours."""

_NAMED = 5
"""Clients that an event names; the others are counted."""


@dataclass(frozen=True)
class Reply:
    """What the server gets from a client.

    Attributes:
        client: Who sent it.
        payload: Decoded contents.
        metrics: What the client reported, and what was measured: train_loss, examples, ...
        request: What the client had received, decoded: after a lossy transfer not what was sent. With error feedback
            it is what was sent, and `payload` that plus the client's change, since what the transfer left out will
            follow.
    """

    client: ClientInfo
    payload: Payload
    metrics: Mapping[str, float]
    request: Payload


@dataclass(frozen=True, eq=False)
class _Sent:
    """A request as it crosses the network.

    Attributes:
        contents: Declarations of what it holds.
        encodings: Its contents, measured.
        decoded: What the client receives.
        bases: What of it both ends keep, to send differences to.
        meant: What was to be sent, of contents with error feedback.
    """

    contents: Contents
    encodings: Encodings
    decoded: Payload
    bases: Mapping[str, Base]
    meant: Payload

    @cached_property
    def parts(self) -> dict[str, Arrays]:
        """What of it the client's changes are measured against, part by part."""
        return parts(self.decoded, self.contents)

    @cached_property
    def sizes(self) -> dict[str, float]:
        """Root mean square of each part that holds real numbers."""
        measured = {name: root_mean_square(arrays) for name, arrays in self.parts.items()}
        return {name: size for name, size in measured.items() if size is not None}

    def as_meant(self, name: str, content: Content, payload: Mapping[str, Arrays]) -> Arrays:
        """Returns a content of the reply as if the client had begun with what it was meant to receive.

        What the request left out stays in the server's state that way, and is in the next difference: this is the error
        feedback of the downlink, and needs no memory of its own.

        Raises:
            PayloadError: The result is not finite.
        """
        arrays = payload[name]
        if name not in self.meant:
            return arrays
        masks = dict(zip(content.masked, payload[content.mask] if content.mask else [], strict=True))
        moved = []
        for i, (array, meant, decoded) in enumerate(zip(arrays, self.meant[name], self.decoded[name], strict=True)):
            if content.arrays[i].lossy:
                with np.errstate(over="ignore"):
                    shift = meant - decoded
                    array = array + (np.where(masks[i], shift, np.float32(0)) if i in masks else shift)
                if not np.isfinite(array).all():
                    raise PayloadError(f"{name}[{i}] is not finite once added to what the client was sent")
            moved.append(array)
        return moved


@dataclass(frozen=True, eq=False)
class _Arrival:
    """What came of one request, before anything is made of it.

    Attributes:
        status: "ok", or why there is no contribution, as in `clients.jsonl`.
        reason: The same as a sentence.
        answer: What crossed; None if nothing did.
        crossed: Its contents: measured if they decode.
        metrics: Columns of the client's row.
        references: What both ends hold once the reply is taken.
        reply: What the strategy gets, if it is a good one.
        modelled: What the action took on the client's device.
    """

    status: str
    reason: str = ""
    answer: Message | None = None
    crossed: Mapping[str, Encoded | bytes] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    references: References | None = None
    reply: Reply | None = None
    modelled: Modelled | None = None

    @property
    def payload(self) -> Payload:
        """What was decoded."""
        return {name: item.arrays for name, item in self.crossed.items() if isinstance(item, Encoded)}


@dataclass
class RoundRecord:
    """What happened on the pipe in one round: rows of `clients.jsonl` and `ledger.jsonl`."""

    clients: list[dict[str, Any]] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    modelled_seconds: float = 0.0

    @property
    def failures(self) -> int:
        """Actions that failed, as opposed to those that came to nothing on a modelled device."""
        return sum(row["status"] not in ("ok", DROPPED_OUT, LATE) for row in self.clients)


class Federation:
    """The clients of a run, over any Flower grid.

    Attributes:
        round: Number of the current round, from 1.
        clients: All clients, by partition.
    """

    def __init__(self, grid: Grid, experiment: Experiment, *, fail_fast: bool = False) -> None:
        self.round = 0
        self._devices = experiment.devices
        self.clients: Sequence[ClientInfo] = experiment.clients
        self.record = RoundRecord()
        self.references: dict[int, References] = {}
        """Partition -> what both ends of a client's link hold; absent before the first exchange."""
        self._calls = 0
        self._saturated: dict[tuple[Direction, str, ValueType], dict[int, int]] = {}
        """(direction, content, value type) -> partition -> values that the last call cut off."""
        self.own: frozenset[str] = frozenset()
        """Groups whose clients have models of their own, which they test on the whole test set."""
        self._measured = self._tested = False
        self._grid = grid
        self._experiment = experiment
        self._contents = {name: experiment.contents(group) for name, group in experiment.groups.items()}
        self._feeds_back = any(
            experiment.wire.encoding(name, content).feedback
            for contents in self._contents.values()
            for name, content in contents.items()
        )
        self._nodes = discover(grid, len(self.clients))
        self._fail_fast = fail_fast

    def begin(self, round_number: int) -> None:
        """Starts a round with an empty record."""
        self.round = round_number
        self.record = RoundRecord()
        self._calls = 0
        every, last = self._experiment.scenario.evaluation, round_number == self._experiment.scenario.rounds
        self._measured = bool(every.clients_every) and (last or round_number % every.clients_every == 0)
        self._tested = last or round_number % every.own_every == 0

    def rng(self, purpose: str) -> np.random.Generator:
        """Returns the server's generator for a purpose in this round."""
        return generator(self._experiment.scenario.seed, self.round, SERVER, purpose)

    def event(self, text: str) -> None:
        """Writes down, and has shown, something that the user should know about this round."""
        self.record.events.append(one_line(str(text)))

    def note(self, name: str, value: float) -> None:
        """Writes a figure of the strategy's own into this round's row of `rounds.jsonl`.

        Raises:
            PayloadError: The row has a column of that name already, or it is no name, or no figure.
        """
        (noted,) = columns.apart({name: value}, columns.ROUND).items()
        if noted[0] != name:
            raise PayloadError(f"fed.note: {name!r} is a column of rounds.jsonl; choose another name")
        self.record.notes[name] = noted[1]

    def decoded(self, name: str, arrays: Arrays) -> Arrays:
        """Returns a content as its receivers decode it, under the wire format of this run."""
        content = next(contents[name] for contents in self._contents.values() if name in contents)
        wire = self._experiment.wire
        return encode_payload({name: arrays}, {name: content}, wire, generation=self.round)[name].arrays

    def cohort(self, fraction: float) -> list[ClientInfo]:
        """Draws the clients of this round: a fraction of all, at least one, by partition."""
        count = max(1, round(fraction * len(self.clients)))
        if count == len(self.clients):
            return list(self.clients)
        chosen = self.rng("cohort").choice(len(self.clients), count, replace=False)
        return [self.clients[i] for i in sorted(chosen)]

    def call(self, action: str, requests: Mapping[ClientInfo, Payload], expects: Collection[str] = ()) -> list[Reply]:
        """Runs an action on clients and returns their good replies, by partition.

        Args:
            action: Name of the action.
            requests: Client -> contents. The same array lists for many clients are encoded once.
            expects: Contents without which a reply is refused.

        Raises:
            RunError: Fewer good replies than `[server] minimum_replies`.
        """
        clients = sorted(requests)
        self._calls += 1
        self._saturated = {}
        cache: dict[Any, _Sent] = {}
        sent = {client: self._encode(client, requests[client], cache) for client in clients}
        messages = [self._message(client, action, sent[client].encodings) for client in clients]
        timeout = self._experiment.scenario.server.timeout
        received = self._grid.send_and_receive(messages, timeout=timeout)
        answers = {answer.metadata.reply_to_message_id: answer for answer in received}
        arrivals = [
            self._read(client, answers.get(message.metadata.message_id), sent[client], expects)
            for client, message in zip(clients, messages, strict=True)
        ]
        arrivals = self._plausible(clients, arrivals, [sent[client] for client in clients])
        replies = []
        for client, message, arrival in zip(clients, messages, arrivals, strict=True):
            self._count(message, "downlink", action, client, sent[client].encodings)
            reply = self._take(client, action, arrival)
            if reply is not None:
                replies.append(reply)
        self.record.modelled_seconds += self._devices.waited([arrival.modelled for arrival in arrivals])
        for (direction, name, values), counts in self._saturated.items():
            self.event(_cut_off(direction, name, values, counts))
        self._require(action, len(replies), len(clients))
        return replies

    def _encode(self, client: ClientInfo, payload: Payload, cache: dict[Any, _Sent]) -> _Sent:
        references = self._held(client)
        key = (client.model, references.key, *((name, id(arrays)) for name, arrays in payload.items()))
        if key not in cache:
            contents = present(payload, self._contents[client.group])
            wire = self._experiment.wire
            encoded = encode_payload(payload, contents, wire, references, generation=self.round)
            decoded = {name: item.arrays for name, item in encoded.items()}
            meant = {
                name: content.accept(list(payload[name]), name)
                for name, content in contents.items()
                if content.delta and wire.encoding(name, content).feedback
            }
            cache[key] = _Sent(contents, encoded, decoded, bases_of(decoded, contents, self.round), meant)
        return cache[key]

    def _held(self, client: ClientInfo) -> References:
        held = self.references.get(client.partition)
        if held is None or held.fresh:
            start = self._experiment.start(self._experiment.groups[client.group])
            return replace(start, accepted=held.accepted if held else 0)
        return held

    @property
    def _exchange(self) -> int:
        """Number of the exchange: it grows from call to call, through a resume as well."""
        return self.round << 8 | self._calls

    def _message(self, client: ClientInfo, action: str, encoded: Encodings) -> Message:
        numbers = {"exchange": self._exchange, "accepted": self._held(client).accepted} if self._feeds_back else {}
        asked = {
            "fresh": self._held(client).fresh,
            "measured": self._measured,
            "tested": self._tested and client.group in self.own,
            "debug": self._fail_fast,
        }
        request = ConfigRecord({**numbers, "round": self.round, **{name: True for name, yes in asked.items() if yes}})
        blobs = {name: item.data for name, item in encoded.items()}
        content = RecordDict({"payload": to_record(blobs), "request": request})
        node = self._nodes[client.partition]
        return Message(content, dst_node_id=node, message_type=f"train.{action}", group_id=str(self.round))

    def _read(self, client: ClientInfo, answer: Message | None, sent: _Sent, expects: Collection[str]) -> _Arrival:
        """Decodes one answer, and says what it took on the client's device."""
        if answer is None:
            return _Arrival("lost", "no reply within the time limit")
        if answer.has_error():
            reason = answer.error.reason or "the client failed"
            wrapped = _BY_FLOWER.fullmatch(reason)
            return _Arrival("failed", wrapped[1] if wrapped else reason)
        blobs: dict[str, bytes] = {}
        declared = self._contents[client.group]
        try:
            metrics = self._metrics(client, answer)
            blobs = from_record(answer.content.array_records["payload"])
            contents = present(blobs, declared)
            if missing := sorted(set(expects) - blobs.keys()):
                raise PayloadError(f"the reply lacks {', '.join(missing)}; received {', '.join(blobs) or 'nothing'}")
            references = self._held(client).after(sent.decoded, sent.contents).sent(sent.bases)
            read = read_payload(blobs, contents, references)
            payload = {name: item.arrays for name, item in read.items()}
            received = {name: sent.as_meant(name, contents[name], payload) for name in payload}
        except (PayloadError, KeyError, TypeError, ValueError) as error:
            return _Arrival("refused", described(error), answer, blobs)
        bytes_down, bytes_up = (sum(len(item.data) for item in part.values()) for part in (sent.encodings, read))
        multiply_adds = metrics.get("multiply_adds", 0.0)
        modelled = self._devices.action(client, self.round, multiply_adds, bytes_down, bytes_up)
        status, reason = "ok", ""
        if modelled is not None:
            metrics |= modelled.row()
            if modelled.problem is not None:
                status, reason = modelled.problem, modelled.reason
        reply = Reply(client, received, columns.as_reported(metrics), {**sent.decoded, **sent.meant})
        return _Arrival(status, reason, answer, read, metrics, references.after(payload, contents), reply, modelled)

    def _plausible(
        self, clients: Sequence[ClientInfo], arrivals: Sequence[_Arrival], sent: Sequence[_Sent]
    ) -> list[_Arrival]:
        """Returns the answers to one call, those refused that cannot be the result of training."""
        good = [i for i, arrival in enumerate(arrivals) if arrival.status == "ok"]
        returned = [parts(arrivals[i].payload, self._contents[clients[i].group]) for i in good]
        measured = [changes(new, sent[i].parts, sent[i].sizes) for i, new in zip(good, returned, strict=True)]
        problems = dict(zip(good, implausible(measured, self._experiment.scenario.server.implausible), strict=True))
        return [
            replace(arrival, status="refused", reason=problems[i]) if problems.get(i) else arrival
            for i, arrival in enumerate(arrivals)
        ]

    def _take(self, client: ClientInfo, action: str, arrival: _Arrival) -> Reply | None:
        """Counts what crossed, writes the client's row, and goes on from a good reply, which it returns."""
        answer, reply, references = arrival.answer, arrival.reply, arrival.references
        if answer is not None:
            self._count(answer, "uplink", action, client, arrival.crossed)
        if arrival.status != "ok" or answer is None or reply is None or references is None:
            self._fail(client, action, arrival.status, arrival.reason, arrival.metrics)
            return None
        self.references[client.partition] = replace(references, accepted=self._exchange)
        if names := columns.renamed(arrival.metrics):
            shown, new = ", ".join(names), ", ".join(columns.PREFIX + name for name in names)
            text = f"clients of {client.group} report {shown}, which is measured or the server's own; see {new}"
            self.record.events += [] if text in self.record.events else [text]
        report = answer.content.config_records.get("report")
        self.record.clients.append(
            {
                "round": self.round,
                "action": action,
                "client": client.partition,
                "group": client.group,
                **arrival.metrics,
            }
            | {"status": "ok", "error": None}
            | ({"model_digest": report["model_digest"]} if report else {})
        )
        return reply

    def _metrics(self, client: ClientInfo, answer: Message) -> dict[str, float]:
        """Returns what a client measured, and what follows from it: nothing crosses that the server can know."""
        metrics = columns.apart(dict(answer.content.metric_records["metrics"]), columns.SERVER)
        if "parameters" in metrics:
            compression = self._experiment.groups[client.group].compression
            metrics |= {
                "sparsity_target": compression.target(self.round),
                "dense_bytes": 4 * metrics["parameters"],
            }
        return metrics

    def _count(
        self,
        message: Message,
        direction: Direction,
        action: str,
        client: ClientInfo,
        contents: Mapping[str, Encoded | bytes],
    ) -> None:
        whole = message_bytes(message)
        self.record.transfers += transfers(self.round, action, direction, client.partition, contents, whole)
        for name, item in contents.items():
            if isinstance(item, Encoded) and item.saturated:
                self._saturated.setdefault((direction, name, item.values), {})[client.partition] = item.saturated

    def _fail(self, client: ClientInfo, action: str, status: str, reason: str, metrics: Mapping[str, float]) -> None:
        """Writes down why an exchange came to nothing."""
        # After a failure neither end can be sure of what the other holds: the next exchange is self-contained.
        held = self.references.pop(client.partition, None)
        if held is not None and held.accepted:
            self.references[client.partition] = References(accepted=held.accepted)
        row = {"round": self.round, "action": action, "client": client.partition, "group": client.group}
        # What our own client app writes has been cut by it: so far, and a traceback, only foreign ones go.
        row |= {**metrics, "status": status, "error": one_line(reason, 3 * LONGEST)}
        self.record.clients.append(row)
        if self._fail_fast and status not in (DROPPED_OUT, LATE):
            where = f"client {client.partition} {status} in round {self.round}, action {action!r}"
            raise RunError(f"{where}:\n{printable_lines(reason)}")

    def _require(self, action: str, good: int, asked: int) -> None:
        least = min(self._experiment.scenario.server.minimum_replies, asked)
        if good < least:
            failed = [row for row in self.record.clients if row["status"] != "ok"]
            reasons = {re.sub(r"^round .*?\): ", "", row["error"]) for row in failed}
            raise RunError(
                f"round {self.round}, action {action!r}: {good} good replies of {asked}, server.minimum_replies is "
                f"{least}. Reasons: {one_line('; '.join(sorted(reasons)))}"
            )


def _cut_off(direction: Direction, name: str, values: ValueType, counts: Mapping[int, int]) -> str:
    """Returns the event of values that a wire format cannot hold.

    Both ends see it in what was decoded, so that a good reply needs no word about it; a value that was the limit itself
    looks no different.

    Args:
        direction: Which way they went.
        name: Name of the content.
        values: Its value type.
        counts: Partition -> number of values.
    """
    clients = [str(partition) for partition in sorted(counts)]
    more = f" and {len(clients) - _NAMED} more" if len(clients) > _NAMED else ""
    plural = "s" if len(clients) > 1 else ""
    return (
        f"{name}, {direction}, client{plural} {', '.join(clients[:_NAMED])}{more}: {sum(counts.values())} values were "
        f"cut off at {values.limit:.0f}, where {values} ends; another value type in [wire.{name}] holds them"
    )


def discover(grid: Grid, clients: int) -> dict[int, int]:
    """Returns partition -> node id: asked of our own grids, and of each node elsewhere.

    Raises:
        RunError: The nodes do not hold every partition exactly once.
    """
    if isinstance(grid, LocalGrid):
        return grid.partitions()
    questions = [
        Message(RecordDict(), dst_node_id=node, message_type="query.partition") for node in grid.get_node_ids()
    ]
    nodes = {
        int(answer.content.config_records["answer"]["partition"]): answer.metadata.src_node_id  # type: ignore[arg-type]
        for answer in grid.send_and_receive(questions)
        if answer.has_content()
    }
    if sorted(nodes) != list(range(clients)):
        raise RunError(f"expected nodes for partitions 0 to {clients - 1}, found {sorted(nodes)}; check --node-config")
    return nodes

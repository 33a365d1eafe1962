"""The clients of a run as a server strategy sees them: the only pipe between the two.

A strategy hands over arrays and gets arrays back. On the way they are encoded (`link`), counted, sent over any Flower
grid (`delivery`), counted, decoded against their declaration, judged (`plausibility`) and put in order.
What fails costs one client, not the run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from fedcompress import columns, strategy
from fedcompress.devices import DROPPED_OUT, LATE, Modelled
from fedcompress.errors import LONGEST, PayloadError, RunError, TooFewRepliesError, described, one_line, printable_lines
from fedcompress.experiment import Experiment
from fedcompress.groups import ClientInfo
from fedcompress.link.delivery import Delivery, deliver, discover
from fedcompress.link.message import Answer, Request
from fedcompress.link.server import Outbox, Sent, ServerEnd
from fedcompress.link.spool import Spool
from fedcompress.plausibility import Change, changes, implausible
from fedcompress.privacy.accounts import Accounts
from fedcompress.rows import ClientRow
from fedcompress.seeding import SERVER, generator
from fedcompress.strategy import Actions, Reply
from fedcompress.units import counted
from fedcompress.wire.codec import Encoded
from fedcompress.wire.content import Arrays, Payload
from fedcompress.wire.ledger import Direction, Transfer, transfers
from fedcompress.wire.references import References
from fedcompress.wire.value_type import ValueType

_BY_FLOWER = re.compile(r"<class 'fedcompress[\w.]*Error'>:<'(.*)'>", re.DOTALL)
"""How Flower's runtime writes an error of ours."""

CutOff = Mapping[tuple[Direction, str, ValueType], int]
"""(direction, content, value type) -> number of values that the type could not hold."""

Encodings = Mapping[str, Encoded]

_NAMED = 5
"""Clients that an event names; the others are counted."""


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What came of one request, before anything is made of it.

    Attributes:
        status: "ok", or why there is no contribution, as in `clients.jsonl`.
        reason: The same as a sentence.
        transfers: What crossed, as rows of `ledger.jsonl`.
        cut_off: Values that the wire format could not hold.
        metrics: Columns of the client's row: what it reported, and what was measured.
        digest: The column of its own model's digest, where that was tested.
        changes: What the client did to each content.
        references: What both ends hold once the reply is taken.
        reply: What the strategy gets, if it is a good one.
        modelled: What the action took on the client's device.
    """

    status: str
    reason: str = ""
    transfers: Sequence[Transfer] = ()
    cut_off: CutOff = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    digest: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Change] = field(default_factory=dict)
    references: References | None = None
    reply: Reply | None = None
    modelled: Modelled | None = None


@dataclass
class RoundRecord:
    """What happened on the pipe in one round: rows of `clients.jsonl` and `ledger.jsonl`."""

    clients: list[ClientRow] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    modelled_seconds: float = 0.0
    keeping: set[str] = field(default_factory=set)
    """Groups of clients that have models of their own, of which their class says nothing."""

    @property
    def failures(self) -> int:
        """Actions that failed, as opposed to those that came to nothing on a modelled device."""
        return sum(row["status"] not in ("ok", DROPPED_OUT, LATE) for row in self.clients)


class Federation(strategy.Federation):
    """The clients of a run, over any Flower grid; what a strategy may do with it is in `fedcompress.strategy`.

    Attributes:
        record: What happened in this round so far.
        references: Partition -> what both ends of a client's link hold; part of a checkpoint.
        accounts: What clients have released, and at what cost; part of a checkpoint, too.
        personal: Groups whose clients have models of their own, which they test on the whole test set.
    """

    def __init__(self, grid: Grid, experiment: Experiment, *, fail_fast: bool = False) -> None:
        self.round = 0
        self.clients: Sequence[ClientInfo] = experiment.clients
        self.accounts = Accounts(experiment.scenario.privacy)
        self.record = RoundRecord()
        self.personal: frozenset[str] = frozenset()
        self._calls = 0
        self._measured = self._tested = self._goes_on = False
        self._grid = grid
        self._experiment = experiment
        self._end = ServerEnd(experiment)
        self.references = self._end.references
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
        return generator(self._experiment.scenario.seed, self.round, SERVER, purpose)

    def event(self, text: str) -> None:
        self.record.events.append(one_line(str(text)))

    def note(self, name: str, value: float) -> None:
        (noted,) = columns.apart({name: value}, columns.ROUND).items()
        if noted[0] != name:
            raise PayloadError(f"fed.note: {name!r} is a column of rounds.jsonl; choose another name")
        self.record.notes[name] = noted[1]

    def decoded(self, name: str, arrays: Arrays, group: str | None = None, masks: Arrays | None = None) -> Arrays:
        return self._end.decoded(name, arrays, self.round, group, masks)

    def cohort(self, fraction: float) -> list[ClientInfo]:
        count = max(1, round(fraction * len(self.clients)))
        if count == len(self.clients):
            return list(self.clients)
        chosen = self.rng("cohort").choice(len(self.clients), count, replace=False)
        return [self.clients[i] for i in sorted(chosen)]

    def call(
        self,
        action: Actions,
        requests: Mapping[ClientInfo, Payload],
        expects: Collection[str] = (),
        *,
        goes_on: bool = False,
    ) -> list[Reply]:
        replies = self.stream(action, requests, expects, goes_on=goes_on)
        shared = {id(reply.request): reply.request for reply in replies}
        received = {key: dict(request) for key, request in shared.items()}  # each is read once
        return [
            replace(reply, payload=dict(reply.payload), request=dict(received[id(reply.request)])) for reply in replies
        ]

    def stream(
        self,
        action: Actions,
        requests: Mapping[ClientInfo, Payload],
        expects: Collection[str] = (),
        *,
        goes_on: bool = False,
    ) -> Sequence[Reply]:
        self._calls += 1
        self._goes_on = goes_on
        clients = sorted(requests)
        actions = [action if isinstance(action, str) else action[client] for client in clients]
        if (public := self._experiment.public) is not None:
            for client, asked in zip(clients, actions, strict=True):
                if public.releases(asked):
                    public.charge(self.accounts, self.round, client.partition, asked, requests[client])
        outcomes = self._judged(self._outcomes(actions, clients, requests, expects))
        replies = [self._concluded(*of_client) for of_client in zip(clients, actions, outcomes, strict=True)]
        self.record.modelled_seconds += self._experiment.devices.waited([outcome.modelled for outcome in outcomes])
        self._tell_of_cut_off_values(clients, outcomes)
        good = [reply for reply in replies if reply is not None]
        self._require(", ".join(dict.fromkeys(actions)), len(good), len(clients))
        return good

    def _outcomes(
        self,
        actions: Sequence[str],
        clients: Sequence[ClientInfo],
        requests: Mapping[ClientInfo, Payload],
        expects: Collection[str],
    ) -> list[_Outcome]:
        """Has each client run its action, and returns what came of it, in their order; only what is small stays."""
        outbox = Outbox(Spool())
        under_way: dict[int, Sent] = {}
        outcomes: dict[int, _Outcome] = {}

        def messages() -> Iterator[Message]:
            for number, client in enumerate(clients):
                sent = under_way[number] = self._end.encode(client, requests[client], self.round, outbox)
                yield self._request(client, actions[number], sent).message(self._nodes[client.partition])

        try:
            for delivery in deliver(self._grid, messages(), self._experiment.scenario.server.timeout):
                number = delivery.index
                sent = under_way.pop(number)
                outcomes[number] = self._read(clients[number], actions[number], sent, delivery, expects, outbox.spool)
        except BaseException:  # some have run, and nobody knows what of
            for number in outcomes.keys() | under_way.keys():
                self._end.give_up(clients[number])
            raise
        return [outcomes[number] for number in range(len(clients))]

    @property
    def _exchange(self) -> int:
        """Number of the exchange: it grows from call to call, through a resume as well."""
        return self.round << 8 | self._calls

    def _request(self, client: ClientInfo, action: str, sent: Sent) -> Request:
        return Request(
            action,
            self.round,
            sent.blobs,
            known=sent.encodings,
            measured=self._measured,
            tested=self._tested and not self._goes_on and client.group in self.personal,
            debug=self._fail_fast,
            **self._end.remembered(client, self._exchange),
        )

    def _read(
        self,
        client: ClientInfo,
        action: str,
        sent: Sent,
        delivery: Delivery,
        expects: Collection[str],
        spool: Spool,
    ) -> _Outcome:
        """Decodes and counts what came of one request, and says what it took on the client's device."""

        def crossed(direction: Direction, contents: Mapping[str, Encoded | bytes], size: int) -> list[Transfer]:
            return transfers(self.round, action, direction, client.partition, contents, size)

        down, message = crossed("downlink", sent.encodings, delivery.sent_bytes), delivery.reply
        size, cut_off = delivery.received_bytes, _cut_off("downlink", sent.encodings)
        if message is None:
            return _Outcome("lost", "no reply within the time limit", down, cut_off)
        if message.has_error():
            reason = message.error.reason or "the client failed"
            wrapped = _BY_FLOWER.fullmatch(reason)
            up = crossed("uplink", {}, size) if size else []  # on our own grids an error is no message
            return _Outcome("failed", wrapped[1] if wrapped else reason, down + up, cut_off)
        answer = Answer(message)
        blobs: dict[str, bytes] = {}
        try:
            metrics = self._metrics(client, answer)
            blobs = answer.blobs
            received = self._end.read(client, sent, blobs, expects, answer.known)
            digest = answer.model_digest
        except (PayloadError, KeyError, TypeError, ValueError) as error:
            declared = self._end.declared(client, blobs)  # what else crossed is part of the envelope
            return _Outcome("refused", described(error), down + crossed("uplink", declared, size), cut_off)
        modelled = self._modelled(client, metrics, sent.encodings, received.encodings)
        if modelled is not None:
            metrics |= modelled.row()
        arrived = _Outcome(
            "ok",
            "",
            down + crossed("uplink", received.encodings, size),
            {**cut_off, **_cut_off("uplink", received.encodings)},
            metrics,
            digest,
            modelled=modelled,
        )
        if modelled is not None and modelled.problem is not None:
            return replace(arrived, status=modelled.problem, reason=modelled.reason)
        return replace(
            arrived,
            changes=changes(received.parts, sent.parts, sent.sizes),
            references=received.references,
            reply=Reply(client, spool.put(received.payload), columns.as_reported(metrics), sent.request),
        )

    def _modelled(
        self, client: ClientInfo, metrics: Mapping[str, float], down: Encodings, up: Encodings
    ) -> Modelled | None:
        """Returns what an action took on the client's device; None if its group has none."""
        bytes_down, bytes_up = (sum(len(item.data) for item in encodings.values()) for encodings in (down, up))
        multiply_adds = metrics.get("multiply_adds", 0.0)
        return self._experiment.devices.action(client, self.round, multiply_adds, bytes_down, bytes_up)

    def _metrics(self, client: ClientInfo, answer: Answer) -> dict[str, float]:
        """Returns what a client measured, and what follows from it: nothing crosses that the server can know."""
        metrics = columns.apart(answer.metrics, columns.SERVER)
        columns.check(metrics)
        if metrics.pop(columns.KEEPS, 0.0):
            self.record.keeping.add(client.group)
        if "parameters" in metrics:
            compression = self._experiment.groups[client.group].compression
            metrics |= {
                "sparsity_target": compression.target(self.round),
                "dense_bytes": 4 * metrics["parameters"],
            }
        return metrics

    def _judged(self, outcomes: Sequence[_Outcome]) -> list[_Outcome]:
        """Returns what came of a call, those replies refused that cannot be the result of training."""
        good = [i for i, outcome in enumerate(outcomes) if outcome.status == "ok"]
        reasons = implausible([outcomes[i].changes for i in good], self._experiment.scenario.server.implausible)
        refused = {i: reason for i, reason in zip(good, reasons, strict=True) if reason}
        return [
            replace(outcome, status="refused", reason=refused[i]) if i in refused else outcome
            for i, outcome in enumerate(outcomes)
        ]

    def _concluded(self, client: ClientInfo, action: str, outcome: _Outcome) -> Reply | None:
        """Writes the rows of one exchange, and goes on from a good reply, which it returns."""
        self.record.transfers += outcome.transfers
        row = {"round": self.round, "action": action, "client": client.partition, "group": client.group}
        row |= outcome.metrics
        if outcome.status != "ok" or outcome.references is None:
            self._fail(client, action, outcome, row)
            return None
        self._end.take(client, outcome.references, self._exchange)
        if names := columns.renamed(outcome.metrics):
            shown, new = ", ".join(names), ", ".join(columns.PREFIX + name for name in names)
            text = f"clients of {client.group} report {shown}, which is measured or the server's own; see {new}"
            self.record.events += [] if text in self.record.events else [text]
        self.record.clients.append(cast(ClientRow, {**row, "status": "ok", "error": None, **outcome.digest}))
        return outcome.reply

    def _fail(self, client: ClientInfo, action: str, outcome: _Outcome, row: Mapping[str, Any]) -> None:
        """Writes down why an exchange came to nothing."""
        self._end.give_up(client)
        # What our own client app writes has been cut by it: so far, and a traceback, only foreign ones go.
        error = one_line(outcome.reason, 3 * LONGEST)
        self.record.clients.append(cast(ClientRow, {**row, "status": outcome.status, "error": error}))
        if self._fail_fast and outcome.status not in (DROPPED_OUT, LATE):
            where = f"client {client.partition} {outcome.status} in round {self.round}, action {action!r}"
            raise RunError(f"{where}:\n{printable_lines(outcome.reason)}")

    def _require(self, action: str, good: int, asked: int) -> None:
        least = min(self._experiment.scenario.server.minimum_replies, asked)
        if good < least:
            failed = [row for row in self.record.clients if row["status"] != "ok"]
            reasons = {re.sub(r"^round .*?\): ", "", str(row["error"])) for row in failed}
            raised = any(row["status"] == "failed" for row in failed)
            hint = ". `fedcompress run --debug` shows where the first client failed." if raised else ""
            raise TooFewRepliesError(
                f"round {self.round}, action {action!r}: {good} good replies of {asked}, server.minimum_replies is "
                f"{least}. Reasons: {one_line('; '.join(sorted(reasons)))}{hint}"
            )

    def _tell_of_cut_off_values(self, clients: Sequence[ClientInfo], outcomes: Sequence[_Outcome]) -> None:
        """Writes an event for each content and direction of which a wire format could not hold some values.

        Both ends see it in what was decoded, so that a good reply needs no word about it; a value that was the limit
        itself looks no different.
        """
        counts: dict[tuple[Direction, str, ValueType], dict[int, int]] = {}
        for client, outcome in zip(clients, outcomes, strict=True):
            for where, count in outcome.cut_off.items():
                counts.setdefault(where, {})[client.partition] = count
        for (direction, name, values), by_client in counts.items():
            partitions = [str(partition) for partition in by_client]
            more = f" and {len(partitions) - _NAMED} more" if len(partitions) > _NAMED else ""
            self.event(
                f"{name}, {direction}, client{'s' if len(partitions) > 1 else ''} {', '.join(partitions[:_NAMED])}"
                f"{more}: {counted(sum(by_client.values()), 'value')} cut off at {values.limit:.0f}, where {values} "
                f"ends; another value type in [wire.{name}] holds them"
            )


def _cut_off(direction: Direction, encodings: Encodings) -> CutOff:
    return {(direction, name, item.values): item.saturated for name, item in encodings.items() if item.saturated}

"""A client's end of an exchange, and what it keeps between exchanges."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from flwr.app import ConfigRecord, RecordDict

from fedcompress.experiment import Experiment
from fedcompress.groups import Group
from fedcompress.link.message import Request
from fedcompress.wire.codec import Encoded
from fedcompress.wire.content import Arrays, Payload
from fedcompress.wire.keeping import Shelf
from fedcompress.wire.payload import encode_payload, present, read_payload
from fedcompress.wire.references import Base, References, bases_of
from fedcompress.wire.value_type import Floats

_MODEL = "model"
"""Record of the client's own model."""
_BEFORE = "shared before."
"""What names of records begin with that hold a strategy's shared state before the last reply."""


Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Undoable(Generic[Value]):
    """What a client keeps that goes back where the server has not taken its last reply.

    Attributes:
        exchange: Number of the exchange of the last reply; 0 before the first.
        now: Name -> what is kept after it.
        previous: Number of the exchange before.
        before: What was kept then.
    """

    exchange: int = 0
    now: Mapping[str, Value] = field(default_factory=dict)
    previous: int = 0
    before: Mapping[str, Value] = field(default_factory=dict)

    def since(self, accepted: int, unknown: Mapping[str, Value] | None = None) -> Self:
        """Returns what was kept after the exchange that the server took last.

        Args:
            accepted: Number of that exchange.
            unknown: What it is where that is neither of the two; None for nothing.
        """
        if accepted == self.exchange:
            return self
        known = self.before if accepted == self.previous else unknown or {}
        return type(self)(accepted, known, accepted, known)

    def followed(self, exchange: int, now: Mapping[str, Value]) -> Self:
        """Returns what is kept after a further reply."""
        return type(self)(exchange, now, self.exchange, self.now)


class Residuals(Undoable[Floats]):
    """What a client's differences have left out so far (error feedback): content name -> all float arrays as a vector.

    Seide et al. 2014, "1-bit stochastic gradient descent"; Stich et al. 2018, "Sparsified SGD with memory".
    """

    def after(self, exchange: int, encoded: Mapping[str, Encoded]) -> Residuals:
        """Returns the residuals after a reply."""
        left = {name: item.error for name, item in encoded.items() if item.error is not None}
        return self.followed(exchange, {**self.now, **left})


class ClientEnd:
    """A client's end of its link, for the length of one exchange.

    Attributes:
        payload: What has been received, decoded.
        state: Content name -> arrays: what the client strategy keeps.

    Args:
        memory: What the client keeps between exchanges, in its Flower context.
        experiment: What is run.
        group: The client's group.
        request: What has been received.

    Raises:
        PayloadError: It is not what is declared, or does not decode.
    """

    def __init__(self, memory: RecordDict, experiment: Experiment, group: Group, request: Request) -> None:
        self._memory, self._wire, self._exchange = memory, experiment.wire, request.exchange or 0
        self._shelf = Shelf()
        references, residuals, shared, state = _load(memory, self._shelf, group.client.shared_state)
        self._model = memory.array_records.get(_MODEL)
        self._residuals = residuals.since(request.accepted or 0)
        self._shared, self._shared_names = shared.since(request.accepted or 0, shared.now), group.client.shared_state
        own = {name: arrays for name, arrays in state.items() if name not in self._shared_names}
        self.state = own | {name: [array.copy() for array in arrays] for name, arrays in self._shared.now.items()}
        self._contents = experiment.contents(group)
        received = present(request.blobs, self._contents)
        references = experiment.start(group) if request.fresh else references
        arrived = read_payload(request.blobs, received, references, request.known)
        decoded = {name: item.arrays for name, item in arrived.items()}
        self.payload = {
            name: [array.copy() for array in arrays] if name in request.known else arrays
            for name, arrays in decoded.items()
        }
        self._references = references.after(decoded, received).sent(bases_of(arrived, received, request.round))

    def encode(self, payload: Payload) -> dict[str, Encoded]:
        """Encodes what is sent back.

        Raises:
            PayloadError: It is not what is declared, or holds values that are not finite.
        """
        declared = present(payload, self._contents)
        return encode_payload(payload, declared, self._wire, self._references, residuals=self._residuals.now)

    def save(self, encoded: Mapping[str, Encoded], state: Mapping[str, Arrays], model: Arrays | None = None) -> None:
        """Keeps what the next exchange needs, as if the reply will arrive.

        Args:
            encoded: The reply.
            state: What the client strategy keeps.
            model: The client's own model, where it is asked for at the end; None keeps the one of the last exchange.
        """
        sent = {name: item.arrays for name, item in encoded.items()}
        references = self._references.after(sent, present(sent, self._contents))
        shared = {name: arrays for name, arrays in state.items() if name in self._shared_names}
        _save(
            self._memory,
            self._shelf,
            references,
            self._residuals.after(self._exchange, encoded),
            self._shared.followed(self._exchange, shared),
            state,
        )
        if (record := self._model if model is None else self._shelf.record(model)) is not None:
            self._memory[_MODEL] = record


def kept_model(memory: RecordDict) -> Arrays | None:
    """Returns the model that a client keeps, where a run asks for it; they are views that are not to be changed."""
    record = memory.array_records.get(_MODEL)
    return None if record is None else Shelf().take(record)


def keeps_state(memory: RecordDict) -> bool:
    """Says whether a client keeps what cannot be sent again: more than masks and contents that both ends hold."""
    return any(not name.startswith("references") for name in memory)


def _load(
    memory: RecordDict, shelf: Shelf, shared_names: Collection[str]
) -> tuple[References, Residuals, Undoable[Arrays], dict[str, Arrays]]:
    """Reads what a client keeps between exchanges: references, residuals, and the state of its strategy.

    What of the state is shared with the server is read as it is after the last reply, and before it.
    """
    notes: dict[str, Any] = {name: dict(record) for name, record in memory.config_records.items()}
    arrays = {name: shelf.take(record) for name, record in memory.array_records.items()}

    def named(kind: str) -> dict[str, Any]:
        return dict(zip(notes[f"{kind}.names"]["names"], arrays[kind], strict=True)) if kind in arrays else {}

    digests = notes.get("bases.digests", {})
    bases = {
        name: Base(int(generation), arrays[f"bases.{name}"], digests.get(name))
        for name, generation in notes.get("bases", {}).items()
    }
    for name, base in bases.items():
        base.__dict__["record"] = memory.array_records[f"bases.{name}"]  # as it is kept already
    exchanges = notes.get("residuals", {"exchange": 0, "previous": 0})
    residuals = Residuals(
        exchanges["exchange"], named("residuals.now"), exchanges["previous"], named("residuals.before")
    )
    state = {
        name.removeprefix("state."): [array.copy() for array in kept]  # an action may change them in place
        for name, kept in arrays.items()
        if name.startswith("state.")
    }
    exchanges = notes.get("shared", {"exchange": 0, "previous": 0})
    now = {name: state[name] for name in shared_names if name in state}
    before = {name: arrays[f"{_BEFORE}{name}"] for name in shared_names if f"{_BEFORE}{name}" in arrays}
    shared = Undoable(exchanges["exchange"], now, exchanges["previous"], before)
    return References(named("references"), bases), residuals, shared, state


def _save(
    memory: RecordDict,
    shelf: Shelf,
    references: References,
    residuals: Residuals,
    shared: Undoable[Arrays],
    state: Mapping[str, Arrays],
) -> None:
    memory.clear()
    for kind, vectors in (
        ("references", references.held),
        ("residuals.now", residuals.now),
        ("residuals.before", residuals.before),
    ):
        if vectors:
            memory[kind] = shelf.record(list(vectors.values()))
            memory[f"{kind}.names"] = ConfigRecord({"names": list(vectors)})
    if residuals.now:
        memory["residuals"] = ConfigRecord({"exchange": residuals.exchange, "previous": residuals.previous})
    if references.bases:
        memory["bases"] = ConfigRecord({name: base.generation for name, base in references.bases.items()})
        memory["bases.digests"] = ConfigRecord({name: base.digest for name, base in references.bases.items()})
    for name, base in references.bases.items():
        memory[f"bases.{name}"] = base.record
    if shared.now or shared.before:
        memory["shared"] = ConfigRecord({"exchange": shared.exchange, "previous": shared.previous})
    for name, arrays in shared.before.items():
        memory[f"{_BEFORE}{name}"] = shelf.record(list(arrays))
    for name, arrays in state.items():
        memory[f"state.{name}"] = shelf.record(list(arrays))

"""The Flower ClientApp: decodes a request, runs one action of the client's strategy, measures, encodes the reply."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod

from fedcompress.client import Result
from fedcompress.columns import apart
from fedcompress.compression import masks as masking
from fedcompress.errors import FedcompressError, described, traced
from fedcompress.experiment import Experiment
from fedcompress.groups import Group
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.trainer import evaluate
from fedcompress.training.work import counted
from fedcompress.wire.content import Arrays, Payload, digest
from fedcompress.wire.payload import decode_payload, encode_payload, present
from fedcompress.wire.records import from_record, to_record
from fedcompress.wire.references import Base, References, Residuals, bases_of


class ActionError(FedcompressError):
    """An action failed; the message names round, action, client and what the client had received."""


def make_client_app(provider: Callable[[Context], Experiment], mods: list[Mod] | None = None) -> ClientApp:
    """Returns a ClientApp that serves every action of every client strategy.

    Args:
        provider: Gives the experiment that a context belongs to; called for each message, so it has to remember.
        mods: Flower's modifiers, around every message.
    """
    return _ActionApp(provider, mods)


class _ActionApp(ClientApp):
    """Registers `train.ACTION` with Flower when an action is first asked for: plug-ins bring names of their own."""

    def __init__(self, provider: Callable[[Context], Experiment], mods: list[Mod] | None = None) -> None:
        super().__init__(mods=mods)
        self._provider = provider
        self.query("partition")(_partition)

    def __call__(self, message: Message, context: Context) -> Message:
        kind, _, action = message.metadata.message_type.partition(".")
        if kind == "train" and f"train.{action}" not in self._registered_funcs:
            self.train(action)(lambda m, c: _act(self._provider(c), m.metadata.message_type.partition(".")[2], m, c))
        return super().__call__(message, context)


def _partition(message: Message, context: Context) -> Message:
    """Says which share of the data a node holds: Flower's node ids are random."""
    answer = ConfigRecord({"partition": int(context.node_config["partition-id"])})
    return Message(RecordDict({"answer": answer}), reply_to=message)


def _act(experiment: Experiment, action: str, message: Message, context: Context) -> Message:
    partition = int(context.node_config["partition-id"])
    group, request = experiment.group_of(partition), message.content.config_records["request"]
    where = f"round {request['round']!r}, action {action!r}, client {partition} (group {group.name!r})"
    with _costs_the_contribution(where, debug=bool(request.get("debug"))):
        return _answered(experiment, action, message, context, where)


@contextmanager
def _costs_the_contribution(where: str, received: Payload | None = None, *, debug: bool = False) -> Iterator[None]:
    """Makes whatever is raised in the block an ActionError: `sys.exit` in a plug-in must not end more than its client.

    Ctrl-C passes. It comes to the main thread alone, so in any other one somebody has raised it by hand.
    """
    try:
        yield
    except ActionError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        text = f"{where}: {described(error)}"
        if received is not None:
            text += f"; received {_shapes(received)}"
        raise ActionError(f"{text}\n{traced(error)}" if debug else text) from error


def _answered(experiment: Experiment, action: str, message: Message, context: Context, where: str) -> Message:
    partition = int(context.node_config["partition-id"])
    group = experiment.group_of(partition)
    contents = experiment.contents(group)
    request = message.content.config_records["request"]
    round_number = int(request["round"])  # type: ignore[arg-type]
    if action not in group.client.actions():
        raise ActionError(f"client {partition}: client strategy {group.settings.client!r} has no action {action!r}")
    references, residuals, state = _load(context.state)
    if request.get("fresh"):
        references = experiment.start(group)
    residuals = residuals.since(int(request.get("accepted", 0)))  # type: ignore[arg-type]
    blobs = from_record(message.content.array_records["payload"])
    received = present(blobs, contents)
    payload = decode_payload(blobs, received, references)
    references = references.after(payload, received).sent(bases_of(payload, received, round_number))
    client = experiment.client(partition, round_number, action, state)
    started = time.perf_counter()
    with _costs_the_contribution(where, payload, debug=bool(request.get("debug"))):
        with counted() if group.settings.device else nullcontext() as work:
            result = getattr(client, action)(payload, round_number)
        if not isinstance(result, Result):
            raise TypeError(f"the action returned {type(result).__name__}, expected fedcompress.client.Result")
        reported = apart(result.metrics)
        declared = present(result.payload, contents)
        encoded = encode_payload(result.payload, declared, experiment.wire, references, residuals=residuals.now)
        kept = _kept(state)
    seconds = time.perf_counter() - started
    sent = {name: item.arrays for name, item in encoded.items()}
    model = result.model or sent.get("weights")
    metrics: dict[str, Any] = {**reported, "examples": float(len(client.data)), "seconds": seconds}
    if work is not None:
        metrics["multiply_adds"] = float(work.multiply_adds)
    if model is not None:
        spec = result.spec or group.model
        metrics |= _measure(experiment, group, round_number, partition, spec, model, request)
    content: dict[str, Any] = {
        "payload": to_record({name: item.data for name, item in encoded.items()}),
        "metrics": MetricRecord(metrics),
    }
    if request.get("tested") and model:
        content["report"] = ConfigRecord({"model_digest": digest(model)})
    residuals = residuals.after(int(request.get("exchange", 0)), encoded)  # type: ignore[arg-type]
    _save(context.state, references.after(sent, declared), residuals, kept)
    return Message(RecordDict(content), reply_to=message)


def _measure(
    experiment: Experiment,
    group: Group,
    round_number: int,
    partition: int,
    spec: ModelSpec,
    model: Arrays,
    request: ConfigRecord,
) -> dict[str, float]:
    """Measures the client's model as it is after the action, decoded: zeros, size, and accuracy where asked.

    A model that can leave channels out is measured without them; its zeros are those of the model that was trained.
    """
    if bad := sum(int(array.size - np.count_nonzero(np.isfinite(array))) for array in model):
        raise FloatingPointError(f"the client's own model is not finite: {bad:,} of its weights")
    small = group.compression.deployed(spec, model)[1] if spec is group.model else model
    raw = b"".join(np.ascontiguousarray(a).tobytes() for a in small)
    parameters = sum(a.size for a in small)
    row: dict[str, float] = {
        "sparsity": masking.sparsity(model, spec.kernels),
        "parameters": float(parameters),
        "compressed_bytes": float(len(zlib.compress(raw, 6))),
    }
    if request.get("measured") or request.get("tested"):
        row["accuracy"] = evaluate(spec, model, experiment.data.test(partition)).accuracy
    if request.get("tested"):
        test = evaluate(spec, model, experiment.data.test_examples)
        if not np.isfinite(test.loss):
            raise FloatingPointError(f"the client's own model is not finite: its loss on the test set is {test.loss}")
        validation = evaluate(spec, model, experiment.data.server_validation_examples)
        row |= {"test_accuracy": test.accuracy, "test_loss": test.loss, "validation_accuracy": validation.accuracy}
    return row


def _kept(state: Mapping[Any, Any]) -> dict[str, Arrays]:
    """Returns a client's `self.state` as it is kept.

    Raises:
        TypeError: It is not lists of arrays by name, or one of objects, which only pickle could write.
    """
    kept = {}
    for name, value in state.items():
        several = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)
        arrays = list(value) if several else [value]
        for array in arrays:
            if not isinstance(name, str) or not isinstance(array, np.ndarray | np.generic) or array.dtype.hasobject:
                found = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
                raise TypeError(f"self.state[{name!r}] holds {found}; expected lists of arrays of numbers, by name")
        kept[name] = arrays
    return kept


def _shapes(payload: Payload) -> str:
    parts = [f"{name}: {', '.join(f'{a.dtype}{list(a.shape)}' for a in arrays)}" for name, arrays in payload.items()]
    return "; ".join(parts) or "an empty payload"


def _load(state: RecordDict) -> tuple[References, Residuals, dict[str, Arrays]]:
    """Reads what the client keeps between actions out of its Flower context."""
    notes: dict[str, Any] = {name: dict(record) for name, record in state.config_records.items()}
    arrays = {name: record.to_numpy_ndarrays() for name, record in state.array_records.items()}

    def named(kind: str) -> dict[str, Any]:
        return dict(zip(notes[f"{kind}.names"]["names"], arrays[kind], strict=True)) if kind in arrays else {}

    bases = {
        name: Base(int(generation), arrays[f"bases.{name}"]) for name, generation in notes.get("bases", {}).items()
    }
    exchanges = notes.get("residuals", {"exchange": 0, "previous": 0})
    residuals = Residuals(
        exchanges["exchange"], named("residuals.now"), exchanges["previous"], named("residuals.before")
    )
    kept = {name.removeprefix("state."): held for name, held in arrays.items() if name.startswith("state.")}
    return References(named("references"), bases), residuals, kept


def _save(state: RecordDict, references: References, residuals: Residuals, kept: dict[str, Arrays]) -> None:
    state.clear()
    for kind, held in (
        ("references", references.held),
        ("residuals.now", residuals.now),
        ("residuals.before", residuals.before),
    ):
        if held:
            state[kind], state[f"{kind}.names"] = ArrayRecord(list(held.values())), ConfigRecord({"names": list(held)})
    if residuals.now:
        state["residuals"] = ConfigRecord({"exchange": residuals.exchange, "previous": residuals.previous})
    if references.bases:
        state["bases"] = ConfigRecord({name: base.generation for name, base in references.bases.items()})
    for name, base in references.bases.items():
        state[f"bases.{name}"] = ArrayRecord(base.arrays)
    for name, arrays in kept.items():
        state[f"state.{name}"] = ArrayRecord(list(arrays))

"""The Flower ClientApp: runs one action of the client's strategy on what a request holds, measures, and answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod

from fedcompress import keras
from fedcompress.client import Result
from fedcompress.columns import KEEPS, apart
from fedcompress.compression import masks as masking
from fedcompress.distillation.tiers import DEPLOY, TIER
from fedcompress.errors import FedcompressError, described, traced
from fedcompress.experiment import Experiment
from fedcompress.groups import Group
from fedcompress.link.client import ClientEnd
from fedcompress.link.message import ACTION, Answer, Request, action_of, partition_answer
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.trainer import evaluate
from fedcompress.training.work import counted
from fedcompress.wire.content import Arrays, Payload, digest
from fedcompress.wire.deflate import deflated_size
from fedcompress.wire.vector import finite


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
        self.query("partition")(lambda m, c: partition_answer(m, _partition(c)))

    def __call__(self, message: Message, context: Context) -> Message:
        action = action_of(message)
        if action is not None and f"{ACTION}.{action}" not in self._registered_funcs:
            self.train(action)(lambda m, c: _act(self._provider(c), m, c))
        return super().__call__(message, context)


def _partition(context: Context) -> int:
    return int(context.node_config["partition-id"])


def _act(experiment: Experiment, message: Message, context: Context) -> Message:
    partition, request = _partition(context), Request.of(message)
    group = experiment.group_of(partition)
    where = f"round {request.round}, action {request.action!r}, client {partition} (group {group.name!r})"
    with _costs_the_contribution(where, debug=request.debug):
        if request.action not in group.client.actions():
            raise ActionError(
                f"client {partition}: client strategy {group.settings.client!r} has no action {request.action!r}"
            )
        return _answered(experiment, group, partition, message, request, context, where)


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
        text = f"{where}: {described(error).removesuffix('.')}"
        if received is not None:
            text += f"; the server had sent {_shapes(received)}"
        raise ActionError(f"{text}\n{traced(error)}" if debug else text) from error


def _answered(
    experiment: Experiment,
    group: Group,
    partition: int,
    message: Message,
    request: Request,
    context: Context,
    where: str,
) -> Message:
    """Runs an action and returns the answer, after the client has kept what the next exchange needs."""
    end = ClientEnd(context.state, experiment, group, request)
    client = experiment.client(partition, request.round, request.action, end.state)
    started, built = time.perf_counter(), keras.building_seconds()
    with _costs_the_contribution(where, end.payload, debug=request.debug):
        with counted() if group.settings.device else nullcontext() as work:
            result = getattr(client, request.action)(end.payload, request.round)
        if not isinstance(result, Result):
            raise TypeError(f"the action returned {type(result).__name__}, expected fedcompress.client.Result")
        reported = apart(result.metrics)
        encoded = end.encode(result.payload)
        client.settle({name: item.arrays for name, item in encoded.items()})
        state = _lasting(end.state)
    seconds = time.perf_counter() - started
    graphs = keras.building_seconds() - built
    metrics = {**reported, "examples": float(len(client.data)), "seconds": seconds, "graph_seconds": graphs}
    if work is not None:
        metrics["multiply_adds"] = float(work.multiply_adds)
    sent = client.as_run(encoded["weights"].arrays) if "weights" in encoded else None
    model, spec = result.model or sent, result.spec
    if request.action == DEPLOY and TIER in end.payload:
        spec = experiment.device_model(group)
        model = group.compression.rounded(list(end.payload[TIER]), spec)
    if model is not None:
        metrics |= _measure(experiment, group, partition, spec or group.model, model, request)
    if result.model is not None and sent is not None and not group.client.keeps_model:
        metrics[KEEPS] = 1.0
    asked = experiment.scenario.evaluation.client_models
    end.save(encoded, state, model if asked and result.model is not None else None)
    return Answer.to(message, encoded, metrics, digest(model) if request.tested and model else None)


def _measure(
    experiment: Experiment,
    group: Group,
    partition: int,
    spec: ModelSpec,
    model: Arrays,
    request: Request,
) -> dict[str, float]:
    """Measures the client's model as it is after the action, decoded: zeros, size, and accuracy where asked.

    A model that can leave channels out is measured without them; its zeros are those of the model that was trained.
    """
    if not all(finite(np.ravel(array)) for array in model):
        bad = sum(int(array.size - np.count_nonzero(np.isfinite(array))) for array in model)
        raise FloatingPointError(f"the client's own model is not finite: {bad:,} of its weights")
    small = group.compression.deployed(spec, model)[1] if spec is group.model else model
    row: dict[str, float] = {
        "sparsity": masking.sparsity(model, spec.kernels),
        "parameters": float(sum(a.size for a in small)),
        "compressed_bytes": float(deflated_size(small)),
    }
    if request.measured or request.tested:
        row["accuracy"] = evaluate(spec, model, experiment.data.test(partition)).accuracy
    if request.tested:
        test = evaluate(spec, model, experiment.data.test_examples)
        if not np.isfinite(test.loss):
            raise FloatingPointError(f"the client's own model is not finite: its loss on the test set is {test.loss}")
        validation = evaluate(spec, model, experiment.data.server_validation_examples)
        row |= {"test_accuracy": test.accuracy, "test_loss": test.loss, "validation_accuracy": validation.accuracy}
        own = experiment.data.validation(partition)
        if experiment.scenario.judges_own and len(own):
            row["local_validation_accuracy"] = evaluate(spec, model, own).accuracy
    return row


def _lasting(state: Mapping[Any, Any]) -> dict[str, Arrays]:
    """Returns a client's `self.state` as lists of arrays.

    Raises:
        TypeError: It is not lists of arrays by name, or one of objects, which only pickle could write.
    """
    lists = {}
    for name, value in state.items():
        several = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)
        arrays = list(value) if several else [value]
        for array in arrays:
            if not isinstance(name, str) or not isinstance(array, np.ndarray | np.generic) or array.dtype.hasobject:
                what = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
                raise TypeError(f"self.state[{name!r}] holds {what}; expected lists of arrays of numbers, by name")
        lists[name] = arrays
    return lists


def _shapes(payload: Payload) -> str:
    parts = [f"{name}: {', '.join(f'{a.dtype}{list(a.shape)}' for a in arrays)}" for name, arrays in payload.items()]
    return "; ".join(parts) or "an empty payload"

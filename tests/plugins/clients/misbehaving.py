"""misbehaving: a client whose own code does what no client should do."""

from typing import Any

import numpy as np

from clients.sgd import SGD
from fedcompress.client import Result, action
from fedcompress.compression.base import Params
from fedcompress.wire.content import Payload


class MisbehavingParams(Params):
    """What it does."""

    what: str = ""


class LeavesError(BaseException):
    """What asyncio, pytest and others raise past `except Exception`."""


class UnreadableError(Exception):
    """An exception that cannot even be printed."""

    def __str__(self) -> str:
        raise SystemExit(0)


class Counted:
    """No number, though it says so."""

    def __float__(self) -> float:
        raise SystemExit(0)


RAISES = {
    "exits": SystemExit(3),
    "leaves": LeavesError("good-bye"),
    "generator exit": GeneratorExit("later"),
    "stops": StopIteration(),
    "interrupts": KeyboardInterrupt(),
    "unreadable": UnreadableError(),
    "long": ValueError("x" * 5_000_000),
    "surrogate": ValueError("\ud800 and\n\x1b[31m red\x07 [bold]not bold[/bold]"),
    "silent": ValueError(),
}
METRICS: dict[str, Any] = {
    "text metric": {"score": "high"},
    "list metric": {"score": [1.0, 2.0]},
    "object metric": {"score": Counted()},
    "huge metric": {"score": 10**400},
    "many metrics": {f"m{i}": 1.0 for i in range(10_000)},
    "empty name": {"": 1.0},
    "surrogate name": {"\ud800": 1.0},
    "newline name": {"a\nb": 1.0},
    "long name": {"n" * 101: 1.0},
    "number name": {7: 1.0},
    "metrics list": [1.0],
    "nan metrics": {"score": float("nan"), "bound": float("inf")},
    "server columns": dict.fromkeys(("round", "action", "client", "group", "status", "error", "model_digest"), 99.0),
    "measured columns": {"accuracy": 99.0, "sparsity": 99.0, "test_accuracy": 99.0, "modelled_joules": 99.0, "mine": 1},
}
STATES: dict[str, dict[Any, Any]] = {
    "object state": {"note": [np.array([None, 1])]},
    "number state": {"note": [1.0]},
    "bare state": {"note": "text"},
    "set state": {"note": {1, 2}},
    "numbered state": {7: [np.zeros(1)]},
}
RETURNS: dict[str, Any] = {"returns nothing": None, "returns a payload": {"weights": []}}


class Misbehaving(SGD):
    """SGD, but for `what`."""

    Params = MisbehavingParams
    params: MisbehavingParams

    def __init__(self, params: MisbehavingParams, **given: Any) -> None:
        if params.what == "exits early":
            raise SystemExit(0)
        super().__init__(params, **given)

    @action
    def train(self, payload: Payload, round_number: int) -> Any:
        what, result = self.params.what, super().train(payload, round_number)
        if what in RAISES:
            raise RAISES[what]
        self.state.update(STATES.get(what, {}))
        if what == "nan model":
            return Result(result.payload, result.metrics, [np.full_like(a, np.nan) for a in result.payload["weights"]])
        if what in METRICS:
            metrics = METRICS[what]
            return Result(result.payload, {**result.metrics, **metrics} if isinstance(metrics, dict) else metrics)
        return RETURNS.get(what, result)

"""wrong: federated averaging that does something wrong in the second round, or where it is asked for its models."""

import sys
from collections import Counter
from typing import Any

import numpy as np

from fedcompress.federation import Federation
from fedcompress.groups import ClientInfo, Group
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import State
from fedcompress.wire.content import Arrays
from strategies.fedavg import FedAvg, FedAvgParams


class WrongParams(FedAvgParams):
    """What is wrong."""

    what: str = ""


class Leaves(BaseException):
    """What asyncio, pytest and others raise past `except Exception`."""


class UnreadableError(Exception):
    """An exception that cannot even be printed."""

    def __str__(self) -> str:
        raise SystemExit(0)


def cyclic() -> list[Any]:
    """Returns a list that holds itself."""
    found: list[Any] = []
    found.append(found)
    return found


RAISES = {
    "exits": SystemExit(0),
    "leaves": Leaves("good-bye"),
    "generator exit": GeneratorExit(),
    "unreadable": UnreadableError(),
    "long": ValueError("x" * 5_000_000),
    "file": FileNotFoundError(2, "No such file or directory", "labels.csv"),
    "surrogate": ValueError("\ud800 and\n\x1b[31m red"),
}
STATES = {
    "none": lambda state: None,
    "list": lambda state: [state],
    "object": lambda state: {**state, "note": object()},
    "set": lambda state: {**state, "note": {"inner": [1, {2}]}},
    "integer key": lambda state: {**state, 7: 1.0},
    "inner integer key": lambda state: {**state, "note": Counter([1])},
    "object array": lambda state: {**state, "note": np.array([None, 1])},
    "record array": lambda state: {**state, "note": np.zeros(1, [("a", object), ("b", int)])},
    "masked array": lambda state: {**state, "note": np.ma.masked_array([1, 2], [0, 1])},
    "digits": lambda state: {**state, "note": [10**4300]},
    "reserved key": lambda state: {**state, "note": {"__array__": 0}},
    "cycle": lambda state: {**state, "note": cyclic()},
}


class Wrong(FedAvg):
    """FedAvg, but for `what`."""

    Params = WrongParams
    params: WrongParams

    def initial(self, fed: Federation) -> State:
        if self.params.what == "exits at first":
            sys.exit(0)
        return super().initial(fed)

    def round(self, fed: Federation, state: State) -> State:
        what, state = self.params.what, {**super().round(fed, state), "round": fed.round}
        if fed.round < 2:
            return state
        if what in RAISES:
            raise RAISES[what]
        if what == "notes":
            fed.note("accuracy", 1.0)
        if what == "nan generator":
            return {**state, "public": {"generator": [np.array([1.0, np.nan])]}}
        return STATES[what](state) if what in STATES else state

    def global_model(self, state: State, group: Group) -> Any:
        weights, what = super().global_model(state, group), self.params.what
        assert weights is not None
        if state.get("round", 0) < 2:
            return weights
        if what == "global_model exits":
            sys.exit(0)
        if what == "nan":
            return [*weights[:-1], np.full_like(weights[-1], np.nan)]
        changed = {
            "nothing": [],
            "text": "weights",
            "transposed": [weights[0].T, *weights[1:]],
            "short": weights[:-1],
            "objects": [*weights[:-1], np.array(["a"] * 10, object)],
        }
        return changed.get(what, weights)

    def deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        weights = super().deployed(state, client)
        assert weights is not None
        return weights[1:] if self.params.what == "deployed" else weights

    def own_model(self, state: State) -> tuple[ModelSpec, Arrays] | None:
        weights, model = state["weights"]["mini-cnn"], self.models["mini-cnn"]
        if state.get("round", 0) < 2 or not self.params.what.startswith("own"):
            return None
        return model, [np.full_like(a, np.inf if "inf" in self.params.what else 1e30) for a in weights]

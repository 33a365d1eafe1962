"""flower: Flower's own weight strategies by name, used for what they are: aggregators of dense weights.

`strategy = "flower"`, `[server.params] name = "FedAdam"`, and in `options` what that class accepts. Holes of pruned
replies are filled with the global values, so that a strategy that knows no masks sees no change where a client kept
nothing. Moments of adaptive strategies are part of the state. What training changes without a gradient, such as the
variances of batch normalisation, is averaged where the strategy would take steps along it: they would end below zero.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from fedcompress.aggregation import replaced
from fedcompress.distillation.tiers import TierParams
from fedcompress.errors import RunError, suggestion
from fedcompress.strategy import Arrays, Federation, Reply, State
from fedcompress.units import counted
from strategies.fedavg import FedAvg

NAMES = (
    "FedAvg",
    "FedAvgM",
    "FedAdagrad",
    "FedAdam",
    "FedYogi",
    "FedMedian",
    "FedTrimmedAvg",
    "Krum",
    "MultiKrum",
    "Bulyan",
)
"""Strategies of `flwr.serverapp.strategy` that aggregate weights and need nothing else of their clients."""
_STEPPING = frozenset({"FedAvgM", "FedAdagrad", "FedAdam", "FedYogi"})
"""Those whose result may lie outside of what the clients sent."""
_OURS = {"fraction_train", "fraction_evaluate", "min_train_nodes", "min_evaluate_nodes", "min_available_nodes"}


class FlowerParams(TierParams):
    """Parameters: which strategy, and its own."""

    name: str = Field("FedAvg", description="class in flwr.serverapp.strategy")
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of that class")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NAMES:
            raise ValueError(f"unknown or not an aggregator of weights.{suggestion(name, NAMES)}")
        return name

    @model_validator(mode="after")
    def _accepted(self) -> FlowerParams:
        try:
            make(self.name, self.options)
        except TypeError as error:
            raise ValueError(f"{self.name} does not accept these options: {error}") from None
        return self


def make(name: str, options: dict[str, Any]) -> Any:
    """Returns a Flower strategy; sampling and evaluation are fedcompress' own and not accepted here."""
    import flwr.serverapp.strategy as flower

    if taken := sorted(_OURS & options.keys()):
        raise TypeError(f"{', '.join(taken)} follow from [server] cohort")
    strategy = getattr(flower, name)(**options)
    strategy.fraction_train = strategy.fraction_evaluate = 0.0  # not in the call, which would warn of it
    return strategy


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keeps Flower from writing a line about every aggregation: what a user has to know is an event of the round."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class Flower(FedAvg):
    """FedAvg's rounds with a Flower strategy in place of the average, which takes all replies of a model at once.

    State adds `moments[architecture]`.
    """

    Params = FlowerParams
    params: FlowerParams

    def initial(self, fed: Federation) -> State:
        return {**super().initial(fed), "moments": {}}

    def round(self, fed: Federation, state: State) -> State:
        self._moments: dict[str, Any] = dict(state["moments"])
        self._fed = fed
        return {**super().round(fed, state), "moments": self._moments}

    def aggregate(self, model: str, replies: Sequence[Reply], old: Arrays) -> Arrays:
        from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

        strategy = make(self.params.name, self.params.options)
        vars(strategy).update(self._moments.get(model, {}))
        # With fraction_train = 0 this sends nothing; it tells adaptive strategies what the round started from.
        strategy.configure_train(self._fed.round, ArrayRecord(list(old)), ConfigRecord(), None)
        messages = []
        for reply in replies:
            metrics = MetricRecord({"num-examples": reply.client.examples})
            content = RecordDict({"arrays": ArrayRecord(self._rebased(model, reply, old)), "metrics": metrics})
            messages.append(Message(content, dst_node_id=1, message_type="train"))
        with _unlogged(), np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at below
            arrays, _ = strategy.aggregate_train(self._fed.round, messages)
        if arrays is None:
            self._fed.event(
                f"{self.params.name} did not aggregate {counted(len(replies), 'reply', 'replies')} of {model}: too few"
            )
            return old
        moments = {k: v for k, v in vars(strategy).items() if k != "current_arrays" and _is_arrays(v)}
        if bad := [name for name, value in moments.items() if not _are_finite(value)]:
            raise RunError(
                f"round {self._fed.round}: {self.params.name}'s {', '.join(bad)} of {model} overflowed: a client "
                "changed its weights too much. Nothing of this round is kept; lower server.implausible in a new run."
            )
        self._moments[model] = moments
        new: Arrays = [array.astype(np.float32) for array in arrays.to_numpy_ndarrays()]
        if self.params.name not in _STEPPING:
            return new
        return replaced(new, super().aggregate(model, replies, old), self.models[model].kinds, "statistic")

    def _rebased(self, model: str, reply: Reply, old: Arrays) -> Arrays:
        """The global weights plus what the client changed, which is nothing where it keeps nothing.

        The change is counted from what the client received, which after a lossy downlink is not what was sent.
        """
        mask = reply.payload.get("mask")
        result = []
        for i, (new, start) in enumerate(zip(reply.payload["weights"], reply.request["weights"], strict=True)):
            change = new - start
            if mask and i in self.models[model].prunable:
                change = np.where(mask[self.models[model].prunable.index(i)], change, np.float32(0))
            result.append(old[i] + change)
        return result


def _are_finite(value: Any) -> bool:
    return all(np.isfinite(array).all() for array in (value.values() if isinstance(value, dict) else value))


def _is_arrays(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(items) and all(isinstance(item, np.ndarray) for item in items)

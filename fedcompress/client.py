"""What an author of a client strategy writes and sees: the whole interface. One subclass per file in `clients/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from pydantic import BaseModel

from fedcompress.compression.base import Compression, Params
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays, Content, Payload

if TYPE_CHECKING:
    from fedcompress.distillation.source import PublicSource
    from fedcompress.plugins import Use

__all__ = [
    "VERDICT",
    "Arrays",
    "ClientStrategy",
    "Content",
    "Params",
    "Payload",
    "Result",
    "action",
]

VERDICT = "own_validation_accuracy"
"""Name of the metric by which a client reports how good its model is by its own validation examples."""

Action = TypeVar("Action", bound=Callable[..., "Result"])


@dataclass(frozen=True)
class Result:
    """What an action returns.

    Attributes:
        payload: Contents that are sent to the server.
        metrics: Numbers for the client's row in `clients.jsonl`, such as `train_loss`; not model content. One that is
            called like a column that is measured, or the server's, is `reported_NAME` there.
        model: The client's model after the action, if it is not what the payload carries as "weights"; it is
            measured, not sent.
        spec: What `model` is, if it is not the group's model.
    """

    payload: Payload = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    model: Arrays | None = None
    spec: ModelSpec | None = None


def action(method: Action) -> Action:
    """Marks a method `(payload, round_number) -> Result` as an action that a server strategy may call by its name."""
    method.is_action = True  # type: ignore[attr-defined]
    return method


class ClientStrategy:
    """A client for the length of one action; what has to last goes into `self.state`.

    A whole one, local training of McMahan et al. 2017, Algorithm 1:

        class SGD(ClientStrategy):
            @action
            def train(self, payload, round_number):
                fitted = self.trainer.fit(payload["weights"], self.data)
                return Result({"weights": fitted.weights}, {"train_loss": fitted.loss})

    A subclass sets the attributes as far as `trains_by`, and finds the others set.

    Attributes:
        Params: Pydantic model of `[groups.params]`; it has none by default.
        finds_masks: Whether it finds masks itself, and so goes with a compression that leaves them to the client.
        needs_validation: Whether it cannot do without validation examples.
        keeps_model: Whether it keeps a model of its own that differs from what it sends, and returns it as
            `Result.model`: what its device is to run. A run can then be judged by it.
        shared_state: Names in `state` of what the server adds up as well: where it has not taken a reply, they go back
            to what they were before it.
        trains_by: Key of `[training]` without a say in how it trains -> its own parameter that has one.
        params: Validated from `[groups.params]`.
        data: The client's own training examples.
        validation: The client's own validation examples, for every choice it makes.
        model: Its model: `model.initial(rng)`, `model.prunable`, `model.head`, ...
        trainer: Trains and predicts with that model under the group's compression.
        compression: The group's compression.
        public: Draws public data, if the scenario has `[public]`.
        server_model: The server's own model, if the scenario has `[server] model`.
        models: Architecture name -> model, for every architecture of the groups.
        state: Content name -> arrays of numbers, kept between actions and rounds, and through a resume.
        rng: Returns the generator for a purpose in this round, client and action.
        first_weights: Returns the global weights before the first round, whenever the client first takes part: both
            ends make them from the seed.
    """

    Params: ClassVar[type[BaseModel]] = Params
    finds_masks: ClassVar[bool] = False
    needs_validation: ClassVar[bool] = False
    keeps_model: ClassVar[bool] = False
    shared_state: ClassVar[frozenset[str]] = frozenset()
    trains_by: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        params: Any,
        *,
        data: Examples,
        validation: Examples,
        model: ModelSpec,
        trainer: Trainer,
        compression: Compression,
        public: PublicSource | None = None,
        server_model: ModelSpec | None = None,
        models: Mapping[str, ModelSpec] | None = None,
        state: dict[str, Arrays],
        rng: Callable[[str], np.random.Generator],
        first_weights: Callable[[], Arrays] | None = None,
    ) -> None:
        self.params = params
        self.data = data
        self.validation = validation
        self.model = model
        self.trainer = trainer
        self.compression = compression
        self.public = public
        self.server_model = server_model
        self.models = models or {model.name: model}
        self.state = state
        self.rng = rng
        self.first_weights = first_weights or (lambda: model.initial(rng("initial")))

    @action
    def deploy(self, payload: Payload, round_number: int) -> Result:
        """Takes over the model that the server has made for the client's group; it is measured as it arrives."""
        return Result()

    def settle(self, sent: Payload) -> None:
        """Changes `state` by what the server decodes of what an action has sent; by default nothing."""
        return

    def as_run(self, weights: Arrays) -> Arrays:
        """Returns what the client's device runs of the "weights" that it sends, to be measured; by default the same."""
        return weights

    @classmethod
    def actions(cls) -> frozenset[str]:
        """Returns the names of the actions."""
        return _actions(cls)  # type: ignore[arg-type]  # a class has a hash

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        """Returns what is wrong with its use in a scenario, a sentence each; asked before any data is read.

        What the attributes above say it needs is looked for here: one that overrides this adds to what it returns.
        """
        assert use.group is not None
        settings, compression = use.group.settings, use.group.compression
        if cls.finds_masks and compression is not None and not compression.left_to_client:
            known = use.plugins.shipped("compression", lambda kind: kind.left_to_client)
            yield (
                f"groups.{settings.name}.compression: client {use.name!r} finds its masks itself, received "
                f'{settings.compression!r}; use compression = "{known}".'
            )
        if cls.needs_validation and use.scenario.data.validation == 0:
            yield use.no_client_validation

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        """Declares every content that this client sends or receives, given its model."""
        return model.contents


@cache
def _actions(kind: type[ClientStrategy]) -> frozenset[str]:
    return frozenset(name for name in dir(kind) if getattr(getattr(kind, name), "is_action", False))

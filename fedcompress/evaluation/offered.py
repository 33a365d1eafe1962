"""What a server strategy offers after a round: weights that are what they should be, or one clear error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from fedcompress.errors import RunError
from fedcompress.evaluation.schedule import DEPLOYED_SAMPLE
from fedcompress.experiment import Experiment
from fedcompress.groups import ClientInfo, Group
from fedcompress.guard import Guard
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import State
from fedcompress.training.trainer import Evaluation
from fedcompress.units import counted
from fedcompress.wire.content import Arrays


class Offered:
    """Asks the server strategy for models.

    Args:
        experiment: The run's.
        guard: Stands around every call of the strategy.
    """

    def __init__(self, experiment: Experiment, guard: Guard) -> None:
        self._experiment, self._server, self._guard = experiment, experiment.server, guard

    def global_model(self, state: State, group: Group) -> Arrays | None:
        """Returns the weights that the strategy offers a group.

        Raises:
            RunError: They are not those of the group's model.
        """
        where = f"global_model of group {group.name!r}"
        with self._guard.calling(where):
            weights = self._server.global_model(state, group)
        return self._checked(weights, group.model, where)

    def own_model(self, state: State) -> tuple[ModelSpec, Arrays] | None:
        """The same of the server's own model."""
        with self._guard.calling("own_model"):
            model = self._server.own_model(state)
        if model is not None:
            self._checked(model[1], model[0], "own_model")
        return model

    def deployed_model(self, state: State, group: Group) -> ModelSpec:
        """Returns what `deployed` are weights of."""
        with self._guard.calling(f"device_model of group {group.name!r}"):
            return self._experiment.deployed_model(state, group)

    def deployed(self, state: State, client: ClientInfo, *, rounded: bool = True) -> Arrays | None:
        """The same of the weights that a client's device runs; None if it runs a model of the client's own.

        Args:
            state: After the round.
            client: Whose device.
            rounded: Whether they are rounded as the group rounds.
        """
        where, group = f"deployed of client {client.partition}", self._experiment.groups[client.group]
        spec = self.deployed_model(state, group)
        with self._guard.calling(where):
            weights = self._experiment.tier(state, group) or self._server.deployed(state, client)
        weights = self._checked(weights, spec, where)
        return group.compression.rounded(weights, spec) if rounded and weights is not None else weights

    def sample(self, state: State, group: Group) -> Iterator[tuple[ClientInfo, Arrays]]:
        """Yields what devices of a group run, of the first `DEPLOYED_SAMPLE` clients that the server knows it of."""
        clients = (self._experiment.clients[partition] for partition in group.clients)
        deployed = ((client, self.deployed(state, client)) for client in clients)
        return islice(((client, weights) for client, weights in deployed if weights is not None), DEPLOYED_SAMPLE)

    def _checked(self, weights: Arrays | None, spec: ModelSpec, where: str) -> Arrays | None:
        if weights is not None and (problem := _misshapen(weights, spec)):
            raise RunError(f"{where}: server strategy {self._guard.strategy!r} returned {problem}.")
        return weights


def check_finite(weights: Arrays, what: str, number: int) -> None:
    """Raises RunError if weights after a round are not finite."""
    bad = sum(int(array.size - np.count_nonzero(np.isfinite(array))) for array in weights)
    if bad:
        raise _not_finite(what, f"{bad:,} of its {sum(array.size for array in weights):,} weights", number)


def check_loss(evaluations: Mapping[str, Evaluation], what: str, number: int) -> None:
    """Raises RunError if a loss after a round is not finite.

    Args:
        evaluations: Name of the examples -> how the model did on them.
        what: The model, for messages.
        number: The round.
    """
    for examples, evaluation in evaluations.items():
        if evaluation.correct.size and not np.isfinite(evaluation.loss):
            raise _not_finite(what, f"its loss on the {examples} examples is {evaluation.loss}", number)


def _misshapen(weights: Any, spec: ModelSpec) -> str | None:
    """Returns what is wrong with weights that are not a model's; None if nothing is."""
    expected = f"expected a list of the {counted(len(spec.template), 'array')} of {spec.name}"
    if not isinstance(weights, list | tuple) or not all(isinstance(array, np.ndarray) for array in weights):
        return f"{type(weights).__name__}, {expected}"
    if len(weights) != len(spec.template):
        return f"{counted(len(weights), 'array')}, {expected}"
    for i, (array, like) in enumerate(zip(weights, spec.template, strict=True)):
        if array.shape != like.shape or array.dtype.kind not in "fiub":
            return f"[{i}] as {array.dtype}{list(array.shape)}, expected {like.dtype}{list(like.shape)} in {spec.name}"
    return None


def _not_finite(what: str, problem: str, number: int) -> RunError:
    return RunError(
        f"round {number}: {what} is not finite: {problem}. Nothing of this round is kept, and a resumed run goes on "
        "from before it; if that ends alike, start a new run with a smaller learning rate or server.implausible."
    )

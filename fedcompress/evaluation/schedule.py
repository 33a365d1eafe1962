"""In which rounds that is measured which costs more than a test of the global model.

What devices run is tested in every round if that is cheap, else in every `FIFTH` round and the last. Cheap is decided
before the run, from what a round computes, so that every engine and a resumed run measure in the same rounds: examples
that go through models, weighted by what an example costs in each. Training on one counts `TRAINING` forward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedcompress.experiment import Experiment
from fedcompress.groups import Group
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.cost import UncountedError, multiply_adds

DEPLOYED_SAMPLE = 10
"""Clients of a group whose deployed models are run over the whole test set."""
CHEAP, FIFTH = 0.1, 5
TRAINING = 3.0
"""Forward, and backward to inputs and to weights."""
BATCHED = 0.55
"""What an example costs in a forward pass over a thousand at once: measured on a processor, against a third of a
training step in a batch of 32, medium-cnn of 28 x 28 pixels: 0.60 in `quickstart`, 0.50 in `distillation`."""
REST = 0.2
"""What a round does besides training and tests (encoding, measuring, writing), as a part of the training: 0.18 and 0.2
there."""


class Schedule:
    """Says what is measured in which round.

    Args:
        experiment: The run's.
    """

    def __init__(self, experiment: Experiment) -> None:
        settings = experiment.scenario.evaluation
        self._last = experiment.scenario.rounds
        self._personal, self._own = settings.personal_every, settings.own_every
        self._deployed = settings.deployed_every or (1 if share_of_round(experiment) <= CHEAP else FIFTH)

    def deployed(self, number: int) -> bool:
        """Says whether what devices run is tested after a round."""
        return self._due(number, self._deployed)

    def personal(self, number: int) -> bool:
        """Says whether personal accuracy is measured after a round."""
        return bool(self._personal) and self._due(number, self._personal)

    @property
    def asks_personal(self) -> bool:
        """Whether personal accuracy is measured at all."""
        return bool(self._personal)

    def own(self, number: int) -> bool:
        """Says whether clients' own models are scored after a round, or what devices run in their place."""
        return self._due(number, self._own)

    def complete(self, number: int) -> bool:
        """Says whether all that is ever measured is measured after a round."""
        return self.deployed(number) and self.own(number) and (self.personal(number) or not self.asks_personal)

    def _due(self, number: int, every: int) -> bool:
        return number == self._last or number % every == 0


def share_of_round(experiment: Experiment) -> float:
    """Returns which part of a round in which they are tested the tests of the deployed models are, as estimated."""
    groups = experiment.groups.values()
    models = {name: deployed_models(experiment, group) for name, group in experiment.groups.items()}
    if not any(models.values()):
        return 0.0
    tested = len(experiment.data.test_examples) + len(experiment.data.server_validation)
    cost = _costs({spec.key: spec for g in groups for spec in (g.model, experiment.server.device_model(g))})
    of_devices = sum(models[name] * cost(experiment.server.device_model(g)) for name, g in experiment.groups.items())
    of_global = sum(cost(model) for model in experiment.models.values())
    trained = sum(len(experiment.data.train_parts[p]) * cost(g.model) for g in groups for p in g.clients)
    scenario = experiment.scenario
    share = scenario.server.cohort_of(scenario.data.clients) / scenario.data.clients
    training = TRAINING * scenario.training.epochs * share * trained
    tests = BATCHED * tested * of_devices
    return float(tests / (tests + BATCHED * tested * of_global + (1 + REST) * training))


def deployed_models(experiment: Experiment, group: Group) -> int:
    """Returns how many models of a group are tested besides the global one, going by who chooses its masks."""
    if experiment.tiers is not None and group.compression.sparsity > 0:
        return 1
    if experiment.server.own_models(group):
        return 0  # clients test them themselves
    if group.compression.chooser == "client":
        return min(len(group.clients), DEPLOYED_SAMPLE)
    another = experiment.server.device_model(group) is not group.model
    return int(another or group.compression.chooser is not None or group.compression.bits < 32)


def _costs(specs: Mapping[Any, ModelSpec]) -> Callable[[ModelSpec], int]:
    """Returns what an example costs in a model: multiply-adds; parameters, if those of one model are not known."""
    if len(specs) == 1:
        return lambda spec: 1
    try:
        counted = {key: multiply_adds(spec.build()) for key, spec in specs.items()}
    except UncountedError:
        counted = {key: spec.parameters for key, spec in specs.items()}
    return lambda spec: counted[spec.key]

"""Personal accuracy: what a client's device runs, after one local epoch, on the client's own distribution.

It is measured where the evaluation runs, on copies: nothing of it is exchanged, and the run does not change by it. A
model that is the client's own, and that the server has never seen, cannot be trained on here.
"""

from __future__ import annotations

from math import nan

from fedcompress.experiment import Experiment
from fedcompress.groups import ClientInfo
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.trainer import evaluate
from fedcompress.wire.content import Arrays

PURPOSE = "personal"
"""Keys the generators of this training, so that no other one draws anything else because of it."""


def personal_accuracy(
    experiment: Experiment, client: ClientInfo, spec: ModelSpec, weights: Arrays, number: int
) -> tuple[float, float]:
    """Returns a client's accuracy on its test examples, and on its validation examples if something goes by that.

    It is NaN if the training diverges, or where there are no examples. The arguments are those of `personal_model`.
    """
    try:
        trained = personal_model(experiment, client, spec, weights, number)
    except FloatingPointError:
        return nan, nan
    data, scenario = experiment.data, experiment.scenario
    accuracy = evaluate(spec, trained, data.test(client.partition)).accuracy
    if not scenario.judges_personal or not len(validation := data.validation(client.partition)):
        return accuracy, nan
    return accuracy, evaluate(spec, trained, validation).accuracy


def personal_model(experiment: Experiment, client: ClientInfo, spec: ModelSpec, weights: Arrays, number: int) -> Arrays:
    """Returns what a device runs after one more epoch on its client's examples, as its group compresses.

    A group that prunes keeps its zeros: those of the deployed prunable kernels are the mask of this training.

    Args:
        experiment: The run's.
        client: Whose data.
        spec: What its device runs.
        weights: Of that.
        number: The round that is over, which says the learning rate.

    Raises:
        FloatingPointError: Training diverged.
    """
    group = experiment.groups[client.group]
    masks = [weights[i] != 0 for i in spec.prunable] if group.compression.sparsity > 0 else None
    trainer = experiment.trainer(group, number, client.partition, PURPOSE).of(spec)
    return trainer.fit(weights, experiment.data.train(client.partition), masks=masks, epochs=1).weights

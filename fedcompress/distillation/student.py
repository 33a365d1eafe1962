"""Distilling an ensemble into the server's models, and what each of its teachers says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from fedcompress.compression.base import Params
from fedcompress.data.federated import Examples
from fedcompress.distillation import ensemble
from fedcompress.distillation.source import LABELS, LOGITS
from fedcompress.training.objectives import Distillation
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.strategy import Federation, Reply, ServerStrategy


class StudentParams(Params):
    """How the server distils; `epochs` passes make a block, and validation decides after each block."""

    temperature: float = Field(1.0, gt=0.0, description="T of the distillation")
    alpha: float = Field(1.0, ge=0.0, le=1.0, description="weight of the teachers against the labels")
    epochs: int = Field(5, ge=1, description="passes over the public examples in a block")
    blocks: int = Field(4, ge=1, description="most blocks; it ends after the first that is no better on validation")
    batch_size: int = Field(128, ge=1, description="public examples in a step")
    learning_rate: float = Field(0.001, gt=0.0, description="of the server")


def distil(
    trainer: Trainer,
    weights: Arrays,
    examples: Examples,
    logits: ensemble.Logits,
    params: StudentParams,
    validation: Examples,
    masks: Arrays | None = None,
) -> Arrays:
    """Trains a model towards an ensemble and returns the weights that are best on validation, the first among them.

    Args:
        trainer: Of the student.
        weights: Where it starts.
        examples: Public examples; labels count where alpha < 1.
        logits: Of the ensemble, a row per example.
        params: How.
        validation: Decides when to stop, and what is returned; without any, the last block counts.
        masks: What the student keeps; None for everything.
    """
    best, top = weights, _accuracy(trainer, weights, validation)
    current = weights
    objective = Distillation(params.alpha, params.temperature, logits)
    for block in range(params.blocks):
        current = trainer.fit(
            current,
            examples,
            objective,
            masks=masks,
            epochs=params.epochs,
            batch_size=params.batch_size,
            learning_rate=params.learning_rate,
            purpose=f"distil.{block}",
        ).weights
        accuracy = _accuracy(trainer, current, validation)
        if not accuracy >= top:  # NaN, of a model that is no longer finite, is worse than any
            break
        best, top = current, accuracy
    return best


def _accuracy(trainer: Trainer, weights: Arrays, validation: Examples) -> float:
    return trainer.evaluate(weights, validation).accuracy if len(validation) else -1.0


def trustworthy(fed: Federation, strategy: ServerStrategy, replies: Sequence[Reply]) -> list[Reply]:
    """Returns the replies whose uploaded models are better than chance on the server's validation examples.

    Those that are dropped are events; if none is left, nobody is dropped.
    """
    good = []
    for reply in replies:
        trainer = strategy.trainer(strategy.models[reply.client.model], fed.round)
        accuracy = trainer.evaluate(list(reply.payload["weights"]), strategy.validation).accuracy
        classes = strategy.models[reply.client.model].classes
        if ensemble.better_than_chance(accuracy, len(strategy.validation), classes):
            good.append(reply)
        else:
            fed.event(f"teacher {reply.client.partition} is at chance level ({accuracy:.3f}), it was dropped")
    return good or list(replies)


def opinions(fed: Federation, strategy: ServerStrategy, replies: Sequence[Reply], x: np.ndarray) -> list[np.ndarray]:
    """Returns the logits (n, classes) of each reply's uploaded model on inputs (n, *input_shape)."""
    return [
        strategy.trainer(strategy.models[reply.client.model], fed.round).predict(list(reply.payload["weights"]), x)
        for reply in replies
    ]


def voices(replies: Sequence[Reply], *, equal: bool) -> list[float]:
    """Returns how much each client's opinion weighs in an ensemble.

    Args:
        replies: Of its teachers.
        equal: Whether they count alike; otherwise by their examples.
    """
    return [1.0 if equal else float(reply.client.examples) for reply in replies]


def consensus(
    replies: Sequence[Reply], classes: int, *, equal: bool = True, probabilities: bool = False
) -> ensemble.Logits:
    """Returns what clients say together of the public examples, as logits (n, classes).

    Args:
        replies: With "logits", or with "labels", which are then votes.
        classes: Number of classes.
        equal: As in `voices`.
        probabilities: Average probabilities instead of logits.
    """
    counts = voices(replies, equal=equal)
    if all(LABELS in reply.payload for reply in replies):
        return ensemble.votes([reply.payload[LABELS][0].astype(np.int64) for reply in replies], classes, counts)
    said = [reply.payload[LOGITS][0] for reply in replies]
    return ensemble.mean_probabilities(said, counts) if probabilities else ensemble.mean_logits(said, counts)


def speaking(fed: Federation, replies: Sequence[Reply], rows: int) -> list[Reply]:
    """Returns the replies that say something of every public example; the others are events."""
    good = []
    for reply in replies:
        said = reply.payload.get(LOGITS) or reply.payload.get(LABELS)
        if said and len(said[0]) == rows:
            good.append(reply)
        else:
            fed.event(f"client {reply.client.partition} said nothing of the {rows} public examples, it was left out")
    return good

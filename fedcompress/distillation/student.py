"""Distilling an ensemble into the server's models."""

from __future__ import annotations

from pydantic import Field

from fedcompress.compression.base import Params
from fedcompress.data.federated import Examples
from fedcompress.distillation import ensemble
from fedcompress.training.objectives import Distillation
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays


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

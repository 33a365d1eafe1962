"""Distilling an ensemble into the server's models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedcompress.data.federated import Examples
from fedcompress.distillation import ensemble
from fedcompress.parameters import Params
from fedcompress.training.objectives import Distillation, Objective
from fedcompress.training.rates import Cosine
from fedcompress.training.trainer import Trainer
from fedcompress.units import counted
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.strategy import Federation


class StudentParams(Params):
    """How the server distils: in blocks of steps, after each of which validation decides whether it goes on.

    With `keep = "best"` a block that is as good as the best one counts as better, otherwise as no gain.
    """

    temperature: float = Field(1.0, gt=0.0, description="T of the distillation")
    alpha: float = Field(1.0, ge=0.0, le=1.0, description="weight of the teachers against the labels")
    epochs: int = Field(5, ge=1, description="passes over the public examples in a block")
    block_steps: int = Field(0, ge=0, description="steps in a block, through which the optimizer goes on; 0: `epochs`")
    blocks: int = Field(4, ge=1, description="most blocks")
    patience: int = Field(1, ge=1, description="blocks in a row without a gain on validation after which it ends")
    batch_size: int = Field(128, ge=1, description="public examples in a step")
    learning_rate: float = Field(0.001, gt=0.0, description="of the server")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="of the learning rate: it stays, or falls along half a cosine over all blocks"
    )
    keep: Literal["best", "trained", "last"] = Field(
        "best", description="by validation the best of all, the start among them; the best block; or the last block"
    )


@dataclass(frozen=True)
class Student:
    """What came of a distillation.

    Attributes:
        weights: That are kept.
        steps: Of the optimizer that led to them; 0 if they are those that it began with.
        accuracies: On validation: of the start, and after each block; -1 without validation examples.
    """

    weights: Arrays
    steps: int
    accuracies: tuple[float, ...]


def distil(
    trainer: Trainer,
    weights: Arrays,
    examples: Examples,
    logits: ensemble.Logits,
    params: StudentParams,
    validation: Examples,
    masks: Arrays | None = None,
    fed: Federation | None = None,
) -> Arrays:
    """Trains a model towards an ensemble and returns the weights that `params.keep` says.

    Args:
        trainer: Of the student.
        weights: Where it starts.
        examples: Public examples; labels count where alpha < 1.
        logits: Of the ensemble, a row per example.
        params: How.
        validation: Decides when to stop, and what is returned; without any, the last block counts.
        masks: What the student keeps; None for everything.
        fed: Is told how many steps taught the model, and, as an event, if none did.
    """
    objective = Distillation(params.alpha, params.temperature, logits)
    student = taught(trainer, weights, examples, objective, params, validation, masks)
    if fed is not None:
        name = trainer.spec.name
        fed.note(f"distilled_steps {name}", student.steps)
        if not student.steps:
            start, *blocks = student.accuracies
            fed.event(
                f"distillation changed nothing: the {name} that it began with has {start:.3f} on validation, the best "
                f"of {counted(len(blocks), 'block')} {max(blocks):.3f}"
            )
    return student.weights


def taught(
    trainer: Trainer,
    start: Arrays,
    examples: Examples,
    objective: Objective,
    params: StudentParams,
    validation: Examples,
    masks: Arrays | None = None,
    purpose: str = "distil",
) -> Student:
    """Trains a model block by block under any objective.

    Args:
        trainer: Of the student.
        start: Where it starts.
        examples: Public examples.
        objective: What is minimised on them.
        params: How.
        validation: As for `distil`.
        masks: As for `distil`.
        purpose: Begins the names of the generators of all blocks.
    """
    current = trainer.compression.rounded(start, trainer.spec)
    accuracies = [_accuracy(trainer, current, validation)]
    best, top = Student(current, 0, ()), accuracies[0] if params.keep == "best" else -1.0
    latent, steps, waited = start, 0, 0
    for block in range(params.blocks):
        trained = trainer.fit(
            latent,
            examples,
            objective,
            masks=masks,
            epochs=params.epochs,
            batch_size=params.batch_size,
            learning_rate=_rate(params, block),
            purpose=f"{purpose}.{block}",
            steps=params.block_steps or None,
            continued=bool(params.block_steps and block),
        )
        latent, current, steps = trained.latent, trained.weights, steps + trained.steps
        accuracy = _accuracy(trainer, current, validation)
        accuracies.append(accuracy)
        tie = params.keep == "best" or not len(validation)
        if accuracy > top or (tie and accuracy == top):  # NaN, of a model that is no longer finite, is worse than any
            best, top, waited = Student(current, steps, ()), accuracy, 0
        else:
            waited += 1
        if waited == params.patience:
            break
    kept = Student(current, steps, ()) if params.keep == "last" else best
    return Student(kept.weights, kept.steps, tuple(accuracies))


def _rate(params: StudentParams, block: int) -> float | Cosine:
    """Returns what the learning rate is in a block, or what it falls along."""
    if params.schedule == "constant":
        return params.learning_rate
    return Cosine(params.learning_rate, block / params.blocks, (block + 1) / params.blocks)


def _accuracy(trainer: Trainer, weights: Arrays, validation: Examples) -> float:
    return trainer.evaluate(weights, validation).accuracy if len(validation) else -1.0

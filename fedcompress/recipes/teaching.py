"""What the methods have in common by which a model learns from a larger one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from pydantic import Field

from fedcompress.compression.quantisers import FLOAT_BITS
from fedcompress.data.federated import Examples
from fedcompress.distillation.projector import Normalisation
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Outcome, Params
from fedcompress.recipes.rounding import BitsParams, Rounding
from fedcompress.training.objectives import Objective
from fedcompress.wire.content import Arrays


class TeacherParams(BitsParams):
    """Parameters of every method with a teacher."""

    teacher: str = Field(description="the larger model's name, as in mlp:512-256")
    teacher_epochs: int | None = Field(None, ge=1, description="default: [training] epochs")
    bits: int = Field(FLOAT_BITS, description="of a weight, after a second training with rounded numbers; 32: none")
    sparsity: float = Field(0.0, ge=0.0, lt=1.0, description="fraction of zeros after that training; 0: no pruning")
    unlabelled: bool = Field(True, description="learn what the teacher says of [data] unlabelled as well")


class ProjectorParams(Params):
    """Parameters of methods whose student ends in the teacher's head, perhaps behind a projector."""

    normalisation: Normalisation = Field(
        "batch", description="of the projector; frozen: its statistics no longer change as the student is rounded"
    )

    reduction: int = Field(
        1, ge=1, description="how many times narrower than the teacher's features the projector's middle is; paper: 2"
    )


class Taught(Rounding):
    """Trains a teacher, then a student with its help; then the student once more, if it is to be rounded or pruned."""

    params: TeacherParams

    def problems(self, bench: Bench) -> Iterator[str]:
        yield from super().problems(bench)
        try:
            teacher = bench.model(self.params.teacher)
        except InputError as error:
            yield f"params.teacher: {error}"
            return
        try:
            assert self.student(bench.spec, teacher).template  # builds it
        except InputError as error:
            yield from error.problems

    def student(self, student: ModelSpec, teacher: ModelSpec) -> ModelSpec:
        """Returns the model that learns; one that reuses a head gets the teacher's."""
        return student

    def settled(self, student: ModelSpec, teacher: ModelSpec) -> ModelSpec:
        """Returns the same model, weight by weight, as it is trained when it is rounded."""
        return self.student(student, teacher)

    def examples(self, bench: Bench) -> Examples:
        """Returns what the student learns from: the labelled examples, then the unlabelled, whose labels are 0."""
        others = bench.data.unlabelled if self.params.unlabelled else bench.data.unlabelled[:0]
        return bench.data.train.followed_by(Examples(others, np.zeros(len(others), np.int32)))

    @abstractmethod
    def objective(self, bench: Bench, teacher: ModelSpec, weights: Arrays) -> Objective:
        """Returns what the student minimises on `examples`, given the trained teacher and its weights."""

    def run(self, bench: Bench) -> Iterator[Outcome]:
        params = self.params
        teacher, weights = bench.teacher(params.teacher, params.teacher_epochs)
        spec = self.student(bench.spec, teacher)
        # By the name of the plain model: all its students begin with the same encoder.
        start = spec.initial(bench.rng(f"initial.{bench.spec.name}"))
        if spec.reuses_head:
            start = spec.with_head(start, teacher.head_of(weights))
        objective, examples = self.objective(bench, teacher, weights), self.examples(bench)
        fitted = bench.train(start, phase="distil", objective=objective, spec=spec, examples=examples)
        if params.bits == FLOAT_BITS and params.sparsity == 0.0:
            yield Outcome(fitted.weights, spec)
        else:
            yield self.rounded(bench, fitted.weights, objective, self.settled(bench.spec, teacher), examples)

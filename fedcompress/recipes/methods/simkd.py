"""simkd: the model learns a larger one's features through a projector, and ends in that one's head, which is frozen.

Chen et al., CVPR 2022, "Knowledge distillation with the reused teacher classifier". Labels have no part in it. The
projector and the head belong to the model that comes out.
"""

from __future__ import annotations

from fedcompress.distillation.projector import in_turn, projected
from fedcompress.models.architecture import ModelSpec
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.teaching import ProjectorParams, Taught, TeacherParams
from fedcompress.training.objectives import FeatureMatching, Objective
from fedcompress.training.trainer import predict
from fedcompress.wire.content import Arrays


class SimKDParams(ProjectorParams, TeacherParams):
    """Parameters of SimKD."""


class SimKD(Taught):
    """Feature matching, then the same with rounded numbers where there are fewer bits or a sparsity."""

    Params = SimKDParams
    params: SimKDParams

    def student(self, student: ModelSpec, teacher: ModelSpec) -> ModelSpec:
        return projected(student, teacher, self.params.reduction, in_turn(self.params.normalisation)[0])

    def settled(self, student: ModelSpec, teacher: ModelSpec) -> ModelSpec:
        return projected(student, teacher, self.params.reduction, in_turn(self.params.normalisation)[1])

    def objective(self, bench: Bench, teacher: ModelSpec, weights: Arrays) -> Objective:
        return FeatureMatching(predict(teacher, weights, self.examples(bench).x, features=True))

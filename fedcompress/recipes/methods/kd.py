"""kd: the model learns from a larger one's logits (Hinton et al. 2015); it may then be rounded, learning on from it."""

from __future__ import annotations

from pydantic import Field

from fedcompress.models.architecture import ModelSpec
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.teaching import Taught, TeacherParams
from fedcompress.training.objectives import Distillation, Objective
from fedcompress.training.trainer import predict
from fedcompress.wire.content import Arrays


class KDParams(TeacherParams):
    """Parameters of distillation."""

    alpha: float = Field(0.9, ge=0.0, le=1.0, description="weight of the teacher against that of the labels")
    temperature: float = Field(2.0, gt=0.0, description="softens both models' logits")


class KD(Taught):
    """Distillation, then quantisation-aware distillation where there are fewer bits or a sparsity."""

    Params = KDParams
    params: KDParams

    def objective(self, bench: Bench, teacher: ModelSpec, weights: Arrays) -> Objective:
        logits = predict(teacher, weights, bench.data.train.x)
        return Distillation(self.params.alpha, self.params.temperature, logits)

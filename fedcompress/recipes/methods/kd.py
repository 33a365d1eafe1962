"""kd: the model learns from a larger one's logits (Hinton et al. 2015); it may then be rounded, learning on from it."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedcompress.models.architecture import ModelSpec
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.teaching import Taught, TeacherParams
from fedcompress.training.objectives import Distillation, Objective, PartlyLabelled
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
        params, labelled, x = self.params, len(bench.data.train), self.examples(bench).x
        logits = predict(teacher, weights, x)
        if len(x) == labelled:
            return Distillation(params.alpha, params.temperature, logits)
        return PartlyLabelled(params.alpha, params.temperature, logits, np.arange(len(x)) < labelled)

"""kd: the model learns from a larger one's logits (Hinton et al. 2015); it may then be rounded, learning on from it."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from fedcompress.compression.kinds.quantise import QuantiseParams
from fedcompress.compression.quantisers import FLOAT_BITS
from fedcompress.errors import InputError
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Outcome
from fedcompress.recipes.rounding import BitsParams, Rounding
from fedcompress.training.objectives import Distillation


class KDParams(BitsParams):
    """Parameters of distillation."""

    teacher: str = Field(description="the larger model's name, as in mlp:512-256")
    teacher_epochs: int | None = Field(None, ge=1, description="default: [training] epochs")
    alpha: float = Field(0.9, ge=0.0, le=1.0, description="weight of the teacher against that of the labels")
    temperature: float = Field(2.0, gt=0.0, description="softens both models' logits")
    bits: int = Field(FLOAT_BITS, description="of a weight, after a second training with rounded numbers; 32: none")
    sparsity: float = Field(0.0, ge=0.0, lt=1.0, description="fraction of zeros after that training; 0: no pruning")


class KD(Rounding):
    """Distillation, then quantisation-aware distillation where there are fewer bits or a sparsity."""

    Params = KDParams
    params: KDParams

    def problems(self, bench: Bench) -> Iterator[str]:
        yield from super().problems(bench)
        try:
            bench.model(self.params.teacher)
        except InputError as error:
            yield f"params.teacher: {error}"

    def quantisers(self) -> QuantiseParams:
        return QuantiseParams(activations="uniform" if self.params.activations else "float")

    def run(self, bench: Bench) -> Iterator[Outcome]:
        asked = self.params
        teacher = bench.model(asked.teacher)
        known = bench.predict(bench.dense(teacher, asked.teacher_epochs), bench.data.train, teacher)
        objective = Distillation(asked.alpha, asked.temperature, known)
        student = bench.train(bench.initial(), phase="distil", objective=objective)
        if asked.bits == FLOAT_BITS and asked.sparsity == 0.0:
            yield Outcome(student.weights)
        else:
            yield self.rounded(bench, student.weights, objective)

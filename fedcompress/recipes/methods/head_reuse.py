"""head-reuse: as `kd`, with the larger model's head, which is frozen; a projector leads to it where features differ.

The variant without a feature loss of Chen et al., CVPR 2022 (see `simkd`).
"""

from __future__ import annotations

from fedcompress.distillation.projector import head_reused, in_turn
from fedcompress.models.architecture import ModelSpec
from fedcompress.recipes.methods.kd import KD, KDParams
from fedcompress.recipes.teaching import ProjectorParams


class HeadReuseParams(ProjectorParams, KDParams):
    """Parameters of head reuse."""


class HeadReuse(KD):
    """Distillation into an encoder."""

    Params = HeadReuseParams
    params: HeadReuseParams

    def student(self, student: ModelSpec, teacher: ModelSpec) -> ModelSpec:
        return head_reused(student, teacher, self.params.reduction, in_turn(self.params.normalisation)[0])

    def settled(self, student: ModelSpec, teacher: ModelSpec) -> ModelSpec:
        return head_reused(student, teacher, self.params.reduction, in_turn(self.params.normalisation)[1])

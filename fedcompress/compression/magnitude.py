"""magnitude: prune the smallest weights of each tensor, by tfmot, to a target that is indexed by round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from fedcompress.compression import masks as masking
from fedcompress.compression.base import Wrapping
from fedcompress.compression.pruning import PruningWrapping, mask_inputs
from fedcompress.compression.scheduled import Scheduled, ScheduleParams
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays


class MagnitudeParams(ScheduleParams):
    """Parameters of magnitude pruning."""

    frequency: int = Field(10, ge=1, description="steps between mask updates inside a round")
    scope: masking.Scope = Field("layer", description=masking.SCOPES)
    mask: Literal["client", "server"] = Field(
        "client", description="who chooses: each client, or the server for a group"
    )


class Magnitude(Scheduled):
    """Magnitude pruning with explicit masks.

    Masks are chosen from the weights at the first step of a round and again every `frequency` steps, until they freeze.
    """

    Params = MagnitudeParams
    params: MagnitudeParams

    @property
    def chooser(self) -> Literal["client", "server"] | None:
        return self.params.mask if self.sparsity > 0 else None

    def wrapping(self) -> Wrapping:
        return PruningWrapping()

    def counts(self, weights: Arrays, spec: ModelSpec, round_number: int) -> list[int]:
        return masking.counts(weights, spec.prunable, self.target(round_number), self.params.scope)

    def inputs(
        self, weights: Arrays, spec: ModelSpec, round_number: int, masks: Arrays | None, counts: Sequence[int]
    ) -> list[Any]:
        chooses = masks is None and self.target(round_number) > 0
        sparsities = [1 - n / spec.template[i].size for n, i in zip(counts, spec.prunable, strict=True)]
        return mask_inputs(spec, masks, sparsities, self.params.frequency if chooses else 0)

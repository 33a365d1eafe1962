"""channel: remove whole filters and units, so that what stays is a smaller dense model.

Every channel has a score, and those with the lowest go first, over all layers together: see
`fedcompress.masks.ranking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fedcompress.compression.pruning import Masked
from fedcompress.compression.scheduled import Scheduled, ScheduleParams
from fedcompress.masks.ranking import (
    ROUNDING,
    Count,
    Score,
    check_sparsity,
    prefix_kept,
    reached,
    removal_order,
    scores,
)
from fedcompress.models import channels
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays


class ChannelParams(ScheduleParams):
    """Parameters of channel pruning."""

    score: Score = Field("l1", description="what decides: the normalised L1 norm, LAMP, or chance")
    floor: int = Field(
        1,
        ge=0,
        description="channels that each layer keeps in any case, or groups of those that are normalised together; 0 "
        "lets a layer be emptied",
    )
    jitter: float = Field(0.0, ge=0.0, description="standard deviation of noise on the logarithm of scores")
    count: Count = Field("weights", description="what sparsity is a fraction of")
    mask: Literal["client", "server"] = Field(
        "server", description="who chooses: the server for a group, or each client from what its round starts with"
    )

    @model_validator(mode="after")
    def _drawn_by_the_server(self) -> ChannelParams:
        if self.mask == "client" and (self.score == "random" or self.jitter):
            raise ValueError('random scores and jitter would be drawn anew by each client; use mask = "server"')
        return self


class Channel(Masked, Scheduled):
    """Channel pruning with structured masks, chosen before a round's training, which keeps them."""

    Params = ChannelParams
    params: ChannelParams

    @property
    def chooser(self) -> Literal["client", "server"] | None:
        return self.params.mask if self.sparsity > 0 else None

    def chosen(self, weights: Arrays, spec: ModelSpec, round_number: int) -> Arrays | None:
        if self.chooser != "client":
            return None
        return self.choose(weights, spec, round_number, np.random.default_rng(0)) or None

    def choose(
        self,
        weights: Arrays,
        spec: ModelSpec,
        round_number: int,
        rng: np.random.Generator,
        memory: Mapping[str, Any] | None = None,
    ) -> Arrays:
        target = self.target(round_number)
        if not target:
            return []
        ranked = scores(spec, weights, self.params.score, rng, self.params.jitter)
        order = removal_order(ranked, self.params.floor)
        return channels.masks_of(spec, prefix_kept(spec, order, target, self.params.count))

    def resumes(self, masks: Arrays, spec: ModelSpec, round_number: int) -> bool:
        there = reached(spec, channels.kept_of(spec, masks), self.params.count) >= self.target(round_number) - ROUNDING
        return self.frozen(round_number) and there

    def held(self, spec: ModelSpec, masks: Arrays) -> dict[int, NDArray[np.bool_]]:
        return channels.held(spec, masks)

    def deployed(self, spec: ModelSpec, weights: Arrays) -> tuple[ModelSpec, Arrays]:
        return channels.shrunk(spec, weights) if self.sparsity > 0 else (spec, weights)

    def check(self, spec: ModelSpec) -> None:
        if self.sparsity > 0:
            check_sparsity(spec, self.sparsity, self.params.floor, self.params.count)

"""Targets indexed by round: a dense beginning, a ramp, and masks that stay at the end.

Zhu & Gupta 2017, "To prune, or not to prune": s_t = s_f + (s_i - s_f) (1 - (t - t0) / (t1 - t0))^3. tfmot's own
schedules count steps, and a federated client often trains fewer than they wait for; here t is the federated round.
"""

from __future__ import annotations

from math import ceil
from typing import Literal, Self

from pydantic import Field, model_validator

from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression, Params
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays

TOLERANCE = 0.01
"""By how much the density of a mask may miss its target and still count as being there."""


class ScheduleParams(Params):
    """Parameters of a ramp; rounds that are left out follow from the run's length."""

    schedule: Literal["polynomial", "constant"] = Field("polynomial", description="constant: the target from begin on")
    begin_round: int | None = Field(None, ge=0, description="last dense round; default: a fifth of the rounds")
    end_round: int | None = Field(None, ge=1, description="round that reaches the target; default: three fifths")
    initial: float = Field(0.0, ge=0.0, lt=1.0, description="sparsity with which the ramp begins")
    power: float = Field(3.0, gt=0.0, description="exponent of the polynomial")
    freeze_round: int | None = Field(
        None, ge=0, description="from here on masks stay; default: four fifths; 0 is never"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        begin, end = self.begin_round, self.end_round
        if begin is not None and end is not None and begin >= end:
            raise ValueError(f"begin_round has to come before end_round, received {begin} and {end}")
        return self


class Scheduled(Compression):
    """A compression whose target ramps up over the rounds."""

    Params = ScheduleParams
    params: ScheduleParams

    @property
    def begin_round(self) -> int:
        """Last dense round, 0 if there is none."""
        if self.params.begin_round is not None:
            return self.params.begin_round
        return min(int(0.2 * self.rounds), self.end_round - 1)

    @property
    def end_round(self) -> int:
        """First round at the full target."""
        if self.params.end_round is not None:
            return self.params.end_round
        return max(ceil(0.6 * self.rounds), (self.params.begin_round or 0) + 1)

    @property
    def freeze_round(self) -> int:
        """First round in which masks no longer change; 0 if they always may."""
        if self.params.freeze_round is not None:
            return self.params.freeze_round
        return max(ceil(0.8 * self.rounds), self.end_round + 1)

    def target(self, round_number: int) -> float:
        if round_number <= self.begin_round:
            return 0.0
        if self.params.schedule == "constant" or round_number >= self.end_round:
            return self.sparsity
        progress = (round_number - self.begin_round) / (self.end_round - self.begin_round)
        begin = min(self.params.initial, self.sparsity)
        return float(self.sparsity - (self.sparsity - begin) * (1.0 - progress) ** self.params.power)

    def frozen(self, round_number: int) -> bool:
        return 0 < self.freeze_round <= round_number

    def resumes(self, masks: Arrays, spec: ModelSpec, round_number: int) -> bool:
        wanted = 1 - self.target(round_number)
        return self.frozen(round_number) and abs(masking.density(masks) - wanted) < TOLERANCE

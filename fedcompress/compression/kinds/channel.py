"""channel: remove whole filters and units, so that what stays is a smaller dense model.

Every channel has a score, and those with the lowest go first, over all layers together: see
`fedcompress.masks.ranking`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fedcompress.compression.pruning import Masked
from fedcompress.compression.scheduled import Scheduled, ScheduleParams
from fedcompress.data.federated import Examples
from fedcompress.masks.features import chain, describe
from fedcompress.masks.proposer import Proposer
from fedcompress.masks.proposing import best_draw, located, problem_of_proposer
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

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class ChannelParams(ScheduleParams):
    """Parameters of channel pruning."""

    score: Literal[Score, "gan"] = Field(
        "l1",
        description="what decides: the normalised L1 norm, LAMP, chance, or a proposer: then the mask is chosen once, "
        "for the whole sparsity, in the first round after begin_round, and stays",
    )
    proposer: str | None = Field(
        None, description='for score = "gan": a file of `fedcompress masks train`, or the name of one that ships'
    )
    draws: int = Field(10, ge=1, description="for a proposer: masks of which the server's validation data say the best")
    nested: bool = Field(
        False, description="for a proposer: masks of sparser groups of an architecture lie inside those of denser ones"
    )
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
        if problem := problem_of_proposer(self.score, self.proposer, self.jitter):
            raise ValueError(problem)
        if self.mask == "client" and self.score == "gan":
            raise ValueError('a proposer\'s mask is chosen by the server; use mask = "server"')
        if self.mask == "client" and (self.score == "random" or self.jitter):
            raise ValueError('random scores and jitter would be drawn anew by each client; use mask = "server"')
        return self


class Channel(Masked, Scheduled):
    """Channel pruning with structured masks, chosen before a round's training, which keeps them."""

    Params = ChannelParams
    params: ChannelParams

    @cached_property
    def _proposer(self) -> Proposer:
        assert self.params.proposer is not None
        return located(self.params.proposer)

    @property
    def freeze_round(self) -> int:
        return self.begin_round + 1 if self.params.score == "gan" else super().freeze_round

    def target(self, round_number: int) -> float:
        if self.params.score == "gan":
            return self.sparsity if round_number > self.begin_round else 0.0
        return super().target(round_number)

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
        assert self.params.score != "gan"  # which `choose_on` is asked for
        ranked = scores(spec, weights, self.params.score, rng, self.params.jitter)
        order = removal_order(ranked, self.params.floor)
        return channels.masks_of(spec, prefix_kept(spec, order, target, self.params.count))

    def choose_on(
        self,
        weights: Arrays,
        spec: ModelSpec,
        round_number: int,
        rng: np.random.Generator,
        memory: Mapping[str, Any] | None,
        validation: Examples,
        loss: Callable[[Arrays], float],
    ) -> Arrays:
        params, target = self.params, self.target(round_number)
        if params.score != "gan" or not target:
            return self.choose(weights, spec, round_number, rng, memory)
        kept = best_draw(
            self._proposer,
            spec,
            weights,
            describe(spec, weights, validation.x, validation.y),
            target,
            rng,
            loss,
            draws=params.draws,
            count=params.count,
            floor=params.floor,
            nested=params.nested,
        )
        return channels.masks_of(spec, kept)

    def problems_in(self, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        assert use.group is not None
        if self.params.score == "gan" and use.scenario.data.server_validation == 0:
            yield (
                f"groups.{use.group.settings.name}: a proposer's masks are judged by the server's validation "
                "examples, but data.server_validation is 0; use 0.05, say."
            )

    def resumes(self, masks: Arrays, spec: ModelSpec, round_number: int) -> bool:
        there = reached(spec, channels.kept_of(spec, masks), self.params.count) >= self.target(round_number) - ROUNDING
        return self.frozen(round_number) and there

    def held(self, spec: ModelSpec, masks: Arrays) -> dict[int, NDArray[np.bool_]]:
        return channels.held(spec, masks)

    def deployed(self, spec: ModelSpec, weights: Arrays) -> tuple[ModelSpec, Arrays]:
        return channels.shrunk(spec, weights) if self.sparsity > 0 else (spec, weights)

    def check(self, spec: ModelSpec) -> None:
        if self.params.score == "gan":
            _ = self._proposer  # whose file has to be there
            chain(spec)
        if self.sparsity > 0:
            check_sparsity(spec, self.sparsity, self.params.floor, self.params.count)

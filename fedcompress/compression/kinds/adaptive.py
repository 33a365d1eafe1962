"""adaptive: as sparse as the accuracy allows.

A staged search on validation data: raise the sparsity by a step, go on training, measure. Where the accuracy holds, the
next stage begins there; where it does not, the last good mask comes back and the step is halved, until it is too small
to matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from fedcompress.compression import masks as masking
from fedcompress.compression.base import Params
from fedcompress.compression.pruning import Masked
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays


@dataclass(frozen=True)
class Search:
    """Where a search stands.

    Attributes:
        goal: Accuracy that has to hold.
        relative: Whether the goal is a fraction of the best accuracy so far, rather than an accuracy.
        limit: Largest sparsity that is tried.
        step: By how much the next trial is sparser than the last that passed.
        least: The search ends when the step is below this.
        best: Best accuracy so far.
        passed: Largest sparsity at which the accuracy held; 0 is where it begins.
        failed: Smallest sparsity at which it did not; above 1 if there is none.
    """

    goal: float
    relative: bool
    limit: float
    step: float
    least: float = 0.01
    best: float = 0.0
    passed: float = 0.0
    failed: float = 2.0

    @property
    def threshold(self) -> float:
        """The accuracy that a trial has to reach."""
        return self.goal * self.best if self.relative else self.goal

    @property
    def trial(self) -> float:
        """The sparsity that is tried next."""
        return min(self.passed + self.step, self.limit)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to try."""
        return self.step < self.least or self.passed >= self.limit - 1e-9

    def seen(self, accuracy: float) -> Search:
        """Returns the search after an accuracy that is no verdict on the trial."""
        return replace(self, best=max(self.best, accuracy))

    def holds(self, accuracy: float) -> bool:
        """Says whether an accuracy is enough; one that is itself the best always is, if the goal is relative."""
        return accuracy >= self.seen(accuracy).threshold

    def after(self, accuracy: float) -> Search:
        """Returns the search after the trial, given the accuracy to which it came."""
        search = self.seen(accuracy)
        if self.holds(accuracy):
            search = replace(search, passed=self.trial)
        else:
            search = replace(search, failed=min(self.trial, self.failed), step=self.step / 2)
        while not search.done and search.trial >= search.failed - 1e-9:  # what has failed is not tried again
            search = replace(search, step=search.step / 2)
        return search


class AdaptiveParams(Params):
    """Parameters of adaptive pruning inside a federation; give one of the two goals."""

    accuracy: float | None = Field(None, gt=0.0, le=1.0, description="validation accuracy that has to hold")
    of_best: float | None = Field(None, gt=0.0, le=1.0, description="the same as a fraction of the best so far")
    step: float = Field(0.1, gt=0.0, lt=1.0, description="by how much the first trial is sparser than the dense model")
    least_step: float = Field(0.01, gt=0.0, lt=1.0, description="the search ends when the step is below this")
    patience: int = Field(2, ge=1, description="rounds in which a trial may come up to the goal")
    begin_round: int | None = Field(None, ge=0, description="last dense round; default: a fifth of the rounds")
    freeze_round: int | None = Field(
        None, ge=0, description="from here on the last good mask stays; default: four fifths; 0 is never"
    )
    judge: Literal["server", "client"] = Field(
        "server", description="whose validation examples decide: the server's, or all of the group's clients'"
    )
    scope: masking.Scope = Field("layer", description=masking.SCOPES)

    @model_validator(mode="after")
    def _one_goal(self) -> AdaptiveParams:
        if (self.accuracy is None) == (self.of_best is None):
            raise ValueError("expected one of accuracy (such as 0.85) and of_best (such as 0.995)")
        if self.least_step > self.step:
            raise ValueError(f"least_step has to be at most step, received {self.least_step:g} and {self.step:g}")
        return self


class Adaptive(Masked):
    """A group's sparsity grows while its validation accuracy holds; the group's `sparsity` is the most that is tried.

    The server chooses the masks by magnitude, each within the last good one. What it remembers of the search is plain:
    the fields of `Search`, `age` (rounds that the trial has had), `bits` (the last good mask, packed; empty for dense).
    """

    Params = AdaptiveParams
    params: AdaptiveParams

    @property
    def chooser(self) -> Literal["client", "server"] | None:
        return "server" if self.sparsity > 0 else None

    @property
    def judge(self) -> Literal["server", "client"] | None:
        return self.params.judge if self.sparsity > 0 else None

    @property
    def begin_round(self) -> int:
        """Last dense round."""
        return int(0.2 * self.rounds) if self.params.begin_round is None else self.params.begin_round

    def target(self, round_number: int) -> float:
        return self.sparsity if round_number > self.begin_round else 0.0

    def frozen(self, round_number: int) -> bool:
        freeze = int(np.ceil(0.8 * self.rounds)) if self.params.freeze_round is None else self.params.freeze_round
        return 0 < freeze <= round_number

    def settled(self, round_number: int, memory: Mapping[str, Any]) -> bool:
        """Says whether a round trains what has been found, rather than trying something."""
        return self.frozen(round_number) or _search(memory).done

    def choose(
        self,
        weights: Arrays,
        spec: ModelSpec,
        round_number: int,
        rng: np.random.Generator,
        memory: Mapping[str, Any] | None = None,
    ) -> Arrays:
        if not self.target(round_number) or not memory:
            return []
        good = self._good(spec, memory)
        if self.settled(round_number, memory):
            return good
        if memory["age"]:
            return masking.unpack(memory["trial_bits"], _shapes(spec))
        inside = masking.apply(weights, good, spec.prunable) if good else weights
        keep = masking.counts(inside, spec.prunable, _search(memory).trial, self.params.scope)
        return masking.choose(inside, spec.prunable, keep)

    def judged(
        self, memory: Mapping[str, Any] | None, round_number: int, masks: Arrays, accuracy: float
    ) -> dict[str, Any]:
        nothing = np.zeros(0, np.uint8)
        memory = memory or {**asdict(self._begin()), "age": 0, "bits": nothing}
        search = _search(memory)
        plain = {"age": 0, "bits": memory["bits"], "trial_bits": nothing}
        if not masks or self.settled(round_number, memory):
            return {**asdict(search.seen(accuracy)), **plain}
        age = int(memory["age"]) + 1
        if search.holds(accuracy):
            return {**asdict(search.after(accuracy)), **plain, "bits": masking.pack(masks)}
        if age < self.params.patience:
            return {**asdict(search.seen(accuracy)), **plain, "age": age, "trial_bits": masking.pack(masks)}
        return {**asdict(search.after(accuracy)), **plain}

    def _begin(self) -> Search:
        goal, relative = self.params.accuracy, self.params.of_best is not None
        goal = self.params.of_best if goal is None else goal
        assert goal is not None
        return Search(goal, relative, self.sparsity, self.params.step, self.params.least_step)

    def _good(self, spec: ModelSpec, memory: Mapping[str, Any]) -> Arrays:
        return masking.unpack(memory["bits"], _shapes(spec)) if memory["bits"].size else []


def _search(memory: Mapping[str, Any]) -> Search:
    return Search(**{name: memory[name] for name in Search.__dataclass_fields__})


def _shapes(spec: ModelSpec) -> list[tuple[int, ...]]:
    return [spec.template[i].shape for i in spec.prunable]

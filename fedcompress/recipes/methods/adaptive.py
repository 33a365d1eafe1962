"""adaptive: as sparse as the accuracy allows, by a staged search on validation data.

Each trial goes on from the last one that passed; it passes as soon as an epoch reaches the threshold, and fails when
its epochs are used up, or when `patience` of them have brought nothing. Every trial is a row, so that the table shows
that the step above the largest sparsity that passed has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pydantic import Field, model_validator

from fedcompress.compression import masks as masking
from fedcompress.compression.kinds.adaptive import Search
from fedcompress.recipes.bench import Bench, CurvePoint
from fedcompress.recipes.method import Method, Outcome, Params
from fedcompress.wire.content import Arrays


class PruneAdaptivelyParams(Params):
    """Parameters of adaptive pruning; give one of the three: sparsity, accuracy, of_best."""

    sparsity: float | None = Field(None, gt=0.0, lt=1.0, description="target, reached in steps whatever it costs")
    accuracy: float | None = Field(None, gt=0.0, le=1.0, description="validation accuracy that has to hold")
    of_best: float | None = Field(None, gt=0.0, le=1.0, description="the same as a fraction of the best so far")
    limit: float = Field(0.99, gt=0.0, lt=1.0, description="largest sparsity that is tried")
    step: float = Field(0.2, gt=0.0, lt=1.0, description="by how much the first trial is sparser than the dense model")
    least_step: float = Field(0.01, gt=0.0, lt=1.0, description="the search ends when the step is below this")
    epochs: int = Field(5, ge=1, description="most epochs of a trial")
    patience: int = Field(3, ge=1, description="epochs without a better one after which a trial is given up")
    learning_rate: float | None = Field(None, gt=0.0, description="of trials; default: [training] learning_rate")
    scope: masking.Scope = Field("layer", description=masking.SCOPES)

    @model_validator(mode="after")
    def _one_goal(self) -> PruneAdaptivelyParams:
        if sum(goal is not None for goal in (self.sparsity, self.accuracy, self.of_best)) != 1:
            raise ValueError("expected one of sparsity (as in 0.9), accuracy (0.85) and of_best (0.995)")
        if self.least_step > self.step:
            raise ValueError(f"least_step has to be at most step, received {self.least_step:g} and {self.step:g}")
        return self

    def search(self) -> Search:
        """Returns the search before its first trial; with a target sparsity every accuracy is enough."""
        relative = self.of_best is not None
        goal = self.of_best if relative else self.accuracy
        limit = self.limit if self.sparsity is None else self.sparsity
        return Search(goal or 0.0, relative, limit, self.step, self.least_step)


class PruneAdaptively(Method):
    """Trains, then raises the sparsity while the validation accuracy holds."""

    Params = PruneAdaptivelyParams
    params: PruneAdaptivelyParams

    def problems(self, bench: Bench) -> Iterable[str]:
        if not len(bench.data.validation):
            yield "params: the search reads validation examples, but data.validation is 0; use 0.1, say."

    def run(self, bench: Bench) -> Iterator[Outcome]:
        good = bench.dense()
        accuracy = bench.validate(good)
        search = self.params.search().seen(accuracy)
        yield _outcome(good, search, "0 dense", 0.0, accuracy)
        while not search.done:
            trial, threshold = search.trial, search.threshold
            weights, accuracy = self._tried(bench, good, search)
            holds = search.holds(accuracy)
            search = search.after(accuracy)
            good = weights if holds else good
            yield _outcome(weights, search, f"{trial:.4f} {'holds' if holds else 'fails'}", threshold, accuracy)
        yield _outcome(good, search, "found", search.threshold, bench.validate(good))

    def _tried(self, bench: Bench, good: Arrays, search: Search) -> tuple[Arrays, float]:
        """Returns the weights and the accuracy of the trial, trained from the last good weights."""
        prunable = bench.spec.prunable
        counts = masking.counts(good, prunable, search.trial, self.params.scope)
        masks = masking.choose(good, prunable, counts)
        fitted = bench.train(
            masking.apply(good, masks, prunable),
            masks=masks,
            phase=f"adaptive {search.trial:.4f}",
            epochs=self.params.epochs,
            learning_rate=self.params.learning_rate,
            until=_until(search, self.params.patience),
        )
        return fitted.weights, fitted.validation


def _until(search: Search, patience: int) -> Callable[[CurvePoint], bool]:
    """Returns what ends a trial: the accuracy holds, or has not been getting better."""
    accuracies: list[float] = []

    def ends(point: CurvePoint) -> bool:
        accuracies.append(point.validation)
        since_best = len(accuracies) - 1 - accuracies.index(max(accuracies))
        return search.holds(point.validation) or since_best >= patience

    return ends


def _outcome(weights: Arrays, search: Search, step: str, threshold: float, accuracy: float) -> Outcome:
    figures: dict[str, float | str] = {"threshold": threshold, "trial_validation": accuracy}
    return Outcome(weights, step=step, figures=figures | ({"series": ""} if step == "found" else {}))

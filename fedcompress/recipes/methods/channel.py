"""channel: remove whole filters and units along a ladder of sparsities, and hand over smaller dense models.

Scores and floors are those of `fedcompress.masks.ranking`. Each rung goes on from the one before; a
`trial` is a whole ladder of its own, with other random numbers, from the same trained model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from fedcompress.compression.archive import Archive, entry
from fedcompress.errors import InputError
from fedcompress.masks import ranking
from fedcompress.masks.features import chain, describe
from fedcompress.masks.proposer import Proposer
from fedcompress.masks.proposing import best_draw, located, problem_of_proposer
from fedcompress.models import channels
from fedcompress.models.channels import Kept
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Method, Outcome, Params
from fedcompress.training.trainer import evaluate
from fedcompress.wire.content import Arrays

LADDER = [round(0.05 * rung, 2) for rung in range(1, 20)]
"""0.05, 0.10, ... 0.95."""


class PruneChannelsParams(Params):
    """Parameters of channel pruning; what differs from the federated compression is the ladder."""

    sparsity: float | None = Field(None, gt=0.0, lt=1.0, description="the only rung, instead of a ladder")
    ladder: list[float] = Field(LADDER, min_length=1, description="fractions that are removed, ascending")
    count: ranking.Count = Field("channels", description="what they are fractions of: channels or weights")
    score: Literal[ranking.Score, "gan"] = Field(
        "l1", description="what decides: the normalised L1 norm, LAMP, chance, or a proposer"
    )
    proposer: str | None = Field(
        None, description='for score = "gan": a file of `fedcompress masks train`, or the name of one that ships'
    )
    draws: int = Field(10, ge=1, description="for a proposer: masks of which validation data say the best")
    floor: int = Field(1, ge=0, description="channels that each layer keeps in any case; 0 lets a layer be emptied")
    jitter: float = Field(0.0, ge=0.0, description="standard deviation of noise on the logarithm of scores")
    trials: int = Field(1, ge=1, description="ladders with random numbers of their own")
    epochs: int = Field(2, ge=1, description="of retraining at each rung")
    learning_rate: float | None = Field(None, gt=0.0, description="of retraining; default: [training] learning_rate")
    smaller: Literal["last", "all", "none"] = Field(
        "last", description="rungs whose smaller dense model is a row of its own, beside the masked one"
    )
    archive: str | None = Field(None, description="file of the best masks of each data set, see compression/archive.py")
    reuse: bool = Field(False, description="take each rung's mask from the archive instead of choosing one")

    @model_validator(mode="after")
    def _sensible(self) -> PruneChannelsParams:
        if self.ladder != sorted(set(self.ladder)) or not 0 < self.ladder[0] <= self.ladder[-1] < 1:
            raise ValueError(f"ladder has to ascend within (0, 1), received {self.ladder}")
        if problem := problem_of_proposer(self.score, self.proposer, self.jitter):
            raise ValueError(problem)
        if self.trials > 1 and self.score not in ("random", "gan") and not self.jitter:
            raise ValueError('trials would all be the same; use score = "random", or jitter')
        if self.reuse and self.archive is None:
            raise ValueError("reuse needs an archive to take masks from")
        if self.reuse and self.count == "weights":
            raise ValueError('an archive counts channels; use count = "channels"')
        return self

    @property
    def rungs(self) -> list[float]:
        """The fractions that are removed, ascending."""
        return self.ladder if self.sparsity is None else [self.sparsity]


class PruneChannels(Method):
    """Trains, then removes channels rung by rung."""

    Params = PruneChannelsParams
    params: PruneChannelsParams
    layers = frozenset({"Dense", "Conv1D", "Conv2D", "DepthwiseConv2D"})

    def problems(self, bench: Bench) -> Iterable[str]:
        for key, reads in (("score", self.params.score == "gan"), ("archive", self.params.archive is not None)):
            if reads and not len(bench.data.validation):
                yield f"params.{key}: masks are judged on validation examples, but data.validation is 0; use 0.1, say."
        try:
            if self.params.score == "gan":
                _ = self._proposer  # whose file has to be there
                chain(bench.spec)
            ranking.check_sparsity(bench.spec, self.params.rungs[-1], self.params.floor, self.params.count)
            if archive := self._archive():
                for rung in self.params.rungs if self.params.reuse else ():
                    if archive.best(bench.spec, rung, bench.data_digest) is None:
                        yield (
                            f"params.archive: {self.params.archive} has no mask of {bench.spec.name!r} at {rung:g} "
                            "that was tried on these data."
                        )
        except InputError as error:
            yield from error.problems

    def run(self, bench: Bench) -> Iterator[Outcome]:
        dense = bench.dense()
        for trial in range(1, self.params.trials + 1):
            weights = dense
            for rung in self.params.rungs:
                name = f"{rung:.2f}" if self.params.trials == 1 else f"{rung:.2f} trial {trial}"
                survivors = self._kept(bench, dense if self.params.score == "gan" else weights, rung, trial)
                fitted = bench.train(
                    weights,
                    masks=channels.masks_of(bench.spec, survivors),
                    phase=f"channel {name}",
                    epochs=self.params.epochs,
                    learning_rate=self.params.learning_rate,
                )
                weights = fitted.weights
                if archive := self._archive():
                    archive.add(entry(bench.spec, survivors, fitted.validation, bench.data_digest))
                numbered = {"trial": trial} if self.params.trials > 1 else {}
                yield Outcome(weights, step=name, **_described(bench, survivors, **numbered))
                if self.params.smaller == "all" or (self.params.smaller == "last" and rung == self.params.rungs[-1]):
                    small, sliced = channels.shrunk(bench.spec, weights)
                    yield Outcome(sliced, small, f"{name} smaller", **_described(bench, survivors, series=""))

    def _kept(self, bench: Bench, weights: Arrays, rung: float, trial: int) -> Kept:
        spec, params = bench.spec, self.params
        if params.reuse and (archive := self._archive()) and (best := archive.best(spec, rung, bench.data_digest)):
            return best.kept(spec)
        if params.score == "gan":
            return self._proposed(bench, weights, rung, trial)
        # The same generator at each rung of a trial: what chance has chosen once stays chosen.
        scores = ranking.scores(spec, weights, params.score, bench.rng(f"channels {trial}"), params.jitter)
        order = ranking.removal_order(scores, params.floor)
        return ranking.prefix_kept(spec, order, rung, params.count)

    @cached_property
    def _proposer(self) -> Proposer:
        assert self.params.proposer is not None
        return located(self.params.proposer)

    def _proposed(self, bench: Bench, weights: Arrays, rung: float, trial: int) -> Kept:
        """The best draw for the dense network; along a ladder what an earlier rung removed stays removed."""
        train, params = bench.data.train, self.params
        return best_draw(
            self._proposer,
            bench.spec,
            weights,
            describe(bench.spec, weights, train.x, train.y),
            rung,
            bench.rng(f"channels {trial}"),
            lambda restricted: evaluate(bench.spec, restricted, bench.data.validation).loss,
            draws=params.draws,
            count=params.count,
            floor=params.floor,
            nested=len(params.rungs) > 1,
        )

    def _archive(self) -> Archive | None:
        return Archive(Path(self.params.archive)) if self.params.archive else None


def _described(bench: Bench, kept: Kept, **more: Any) -> dict[str, Any]:
    """Returns what is said of a rung: zeros of the model as it was trained, channels, layers that were emptied."""
    removed = ranking.by_layer(bench.spec, kept)
    figures: dict[str, float | str] = {
        "sparsity": ranking.reached(bench.spec, kept, "weights") * (1 - bench.spec.dense_share),
        "channels_removed": ranking.reached(bench.spec, kept, "channels"),
        "emptied": " ".join(layer for layer, fraction in removed.items() if fraction == 1.0),
    }
    return {"figures": {**figures, **more}, "layers": removed}

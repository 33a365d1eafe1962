"""What a generator makes, in the run directory: a grid of samples and their quality, outside the timed rounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcompress.data.federated import Examples
from fedcompress.distillation.source import GENERATOR, SEED
from fedcompress.experiment import Experiment
from fedcompress.generators.judge import classifier
from fedcompress.models.architecture import ModelSpec
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.missing import optional
from fedcompress.seeding import SERVER, generator
from fedcompress.strategy import State
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.federation import Federation

FOLDER = "samples"
DRAWN, REAL = 10_000, 10_000
"""Samples that are judged, and real examples that they are compared with, at most."""
FRECHET_LEAST = 10_000
"""Real examples below which the Frechet distance is biased; the kernel distance is not."""


def _stem(number: int) -> str:
    return f"round-{number:04d}"


@dataclass(frozen=True)
class SampleReport:
    """Writes `samples/round-NNNN.png` and what it measures; nothing for a run without a generator.

    The classifier whose features are compared is trained on the clients' pooled data: the simulator's knowledge, of
    which nothing reaches a strategy.

    Attributes:
        experiment: The run's.
        directory: Of the run.
        missing: Takes a line for what could not be written.
    """

    experiment: Experiment
    directory: RunDirectory
    missing: list[str] = field(default_factory=list)

    def due(self, number: int) -> bool:
        """Says whether a round's samples are judged, though it is not the last."""
        public = self.experiment.scenario.public
        return bool(public and public.generated and public.quality_every and number % public.quality_every == 0)

    def write(self, fed: Federation, state: State, number: int) -> None:
        """Draws from a state's generator, and writes the grid and its measurements; a run is no worse without them."""
        with optional(f"{FOLDER}/{_stem(number)}", self.missing):
            self._write(fed, state, number)

    def _write(self, fed: Federation, state: State, number: int) -> None:
        public = self.experiment.public
        trained = state.get("public", {}).get(GENERATOR)
        if public is None or public.gan is None or trained is None:
            return
        from fedcompress.generators.quality import accuracy_score, features, frechet_distance, grid_png, kernel_distance

        seed = [np.array([int(self._rng("samples").integers(2**62))], np.int64)]
        drawn = public.draw({SEED: seed, GENERATOR: fed.decoded(GENERATOR, trained)}, DRAWN)
        folder = self.directory.path / FOLDER
        folder.mkdir(exist_ok=True)
        grid_png(drawn.x, drawn.y, folder / f"{_stem(number)}.png")
        weights, real = self._real
        real_features, fake_features = (features(self._spec, weights, x) for x in (real.x, drawn.x))
        enough = min(len(real), len(drawn)) >= FRECHET_LEAST
        test = self.experiment.data.test_examples
        measured = {
            "round": number,
            "accuracy_score": accuracy_score(drawn, test, self._spec, self._rng("score")),
            "real_accuracy": self._real_accuracy,
            "kernel_distance": kernel_distance(real_features, fake_features),
            "frechet_distance": frechet_distance(real_features, fake_features) if enough else None,
            "generator_parameters": public.gan.parameters,
            **({} if public.slim is None else public.slim.sizes(trained)),
        }
        self.directory.write_json(f"{FOLDER}/{_stem(number)}.json", measured)

    def final(self, number: int) -> dict[str, Any]:
        """Returns the measurements of the last round for the summary; nothing for a run without a generator."""
        name = f"{FOLDER}/{_stem(number)}.json"
        if (self.directory.path / name).exists():
            with optional(name, self.missing):
                return {"samples": self.directory.read_json(name)}
        return {}

    @property
    def _spec(self) -> ModelSpec:
        public = self.experiment.public
        assert public is not None
        return classifier(public.input_shape, public.classes)

    @cached_property
    def _real(self) -> tuple[Arrays, Examples]:
        """A classifier trained on real data, and that data."""
        from fedcompress.generators.quality import fitted

        pooled = self.experiment.data.pooled()
        chosen = np.sort(self._rng("real").permutation(len(pooled))[:REAL])
        real = Examples(pooled.x[chosen], pooled.y[chosen])
        return fitted(real, self._spec, self._rng("judge")), real

    @cached_property
    def _real_accuracy(self) -> float:
        """What the same classifier reaches when trained on as many real examples."""
        from fedcompress.training.trainer import evaluate

        return evaluate(self._spec, self._real[0], self.experiment.data.test_examples).accuracy

    def _rng(self, purpose: str) -> np.random.Generator:
        return generator(self.experiment.scenario.seed, 0, SERVER, f"quality.{purpose}")

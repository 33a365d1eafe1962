"""What every step of the chain works with: images, random numbers, a judge of samples, folders, an observer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fedcompress.data.federated import Examples
from fedcompress.generators.judge import classifier
from fedcompress.generators.quality import (
    accuracy_score,
    collapsed,
    features,
    fitted,
    frechet_distance,
    kernel_distance,
)
from fedcompress.generators.slim import SlimSpec
from fedcompress.generators.spec import Gan, GanSpec
from fedcompress.models.architecture import ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.recipes.generate.folder import Row, StepFolder, Tree
from fedcompress.recipes.generate.recipe import GeneratorRecipe, StepName
from fedcompress.recipes.loading import Split
from fedcompress.seeding import SERVER, generator
from fedcompress.wire.content import Arrays

REAL = 10_000
"""Real examples that samples are compared with, at most."""
GUIDE = "small-cnn"
FRECHET_LEAST = 10_000
"""Real examples below which the Frechet distance is biased; the kernel distance is not."""


class Observer:
    """Is told how a chain goes on; this one takes no notice."""

    def started(self, step: str, epochs: int, done: int) -> None:
        """A step begins, or goes on after so many epochs."""

    def epoch_done(self, step: str, row: Mapping[str, Any]) -> None:
        """An epoch has been trained."""

    def measuring(self, step: str) -> None:
        """A step is trained; its generator is measured."""

    def finished(self, step: str, figures: Mapping[str, Any]) -> None:
        """A step is done."""


@dataclass(frozen=True, eq=False)
class Workshop:
    """A recipe made concrete.

    Attributes:
        recipe: What to do.
        data: Images, divided.
        classes: Their number.
        data_digest: Of the data set.
        folders: Step -> what it leaves.
        observer: Is told.
    """

    recipe: GeneratorRecipe
    data: Split
    classes: int
    data_digest: str
    folders: Mapping[StepName, StepFolder]
    observer: Observer = field(default_factory=Observer)

    def rng(self, purpose: str, epoch: int = 0) -> np.random.Generator:
        """Returns the generator of one purpose, independent of all others."""
        return random_numbers(self.recipe.seed, purpose, epoch)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image."""
        return self.data.train.x.shape[1:]

    @property
    def teacher(self) -> GanSpec:
        """The teacher's networks."""
        return GanSpec(self.recipe.teacher.gan, self.shape, self.classes)

    @property
    def student(self) -> SlimSpec:
        """The student's: with the teacher's length of z, so that both make an image of the same noise."""
        noise = self.teacher.networks.noise
        return SlimSpec("slim", self.shape, self.classes, bits=self.recipe.student.bits, noise=noise)

    def epochs(
        self,
        step: StepName,
        total: int,
        begin: Callable[[], Tree],
        train: Callable[[Tree, int], tuple[Tree, Row]],
        shown: Callable[[Tree], None],
    ) -> tuple[Tree, list[Row]]:
        """Trains epoch by epoch, each on disk as soon as it is done; goes on where it was interrupted.

        Args:
            step: The step's name.
            total: Epochs.
            begin: Returns the state before the first one.
            train: Returns the state after another epoch (from 1), and its row.
            shown: Writes pictures of a state.
        """
        folder = self.folders[step]
        saved = folder.checkpoint()
        state, rows = (begin(), []) if saved is None else (saved["state"], saved["rows"])
        self.observer.started(step, total, len(rows))
        for epoch in range(len(rows) + 1, total + 1):
            state, row = train(state, epoch)
            rows.append({"epoch": epoch, **row})
            folder.save({"state": state, "rows": rows}, rows)
            shown(state)
            self.observer.epoch_done(step, rows[-1])
        self.observer.measuring(step)
        return state, rows

    def quality(self, samples: Examples) -> Row:
        """Returns how good samples are: as training data, and by their features."""
        spec, weights = self._judge
        settings, real = self.recipe.figures, self._real
        tested = self.data.test if settings.on == "test" else self.data.validation
        of_real, of_samples = (features(spec, weights, x) for x in (real.x, samples.x))
        enough = min(len(real), len(samples)) >= FRECHET_LEAST
        return {
            "accuracy_score": accuracy_score(samples, tested, spec, self.rng("figures.score")),
            "scored_on": settings.on,
            "scored_by": len(samples),
            "kernel_distance": kernel_distance(of_real, of_samples),
            "frechet_distance": frechet_distance(of_real, of_samples) if enough else None,
            "collapsed": collapsed(samples.x, samples.y),
        }

    def score(self, samples: Examples) -> float:
        """Returns the accuracy score alone."""
        settings = self.recipe.figures
        tested = self.data.test if settings.on == "test" else self.data.validation
        return accuracy_score(samples, tested, self._judge[0], self.rng("figures.score"))

    @property
    def guide(self) -> ModelSpec:
        """The classifier that a teacher's generator is guided by; not the judge, whose score it would flatter."""
        return ModelSpec(GUIDE, Plugins().architecture(GUIDE), self.shape, self.classes)

    def taught(self, guide: ModelSpec) -> Arrays:
        """Returns the weights of a guide that has learned from real examples."""
        return fitted(self._real, guide, self.rng("teacher.guide"))

    @cached_property
    def _real(self) -> Examples:
        train = self.data.train
        chosen = np.sort(self.rng("figures.real").permutation(len(train))[:REAL])
        return Examples(train.x[chosen], train.y[chosen])

    @cached_property
    def _judge(self) -> tuple[Any, Arrays]:
        """The judge and its weights, trained on real examples."""
        spec = classifier(self.shape, self.classes)
        return spec, fitted(self._real, spec, self.rng("figures.judge"))


def random_numbers(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Returns the generator of one purpose of a chain."""
    return generator(seed, epoch, SERVER, f"generate.{purpose}")


def gan_of(tree: Tree) -> Gan:
    """Returns the weights of a GAN as a checkpoint holds them."""
    return Gan(tree["generator"], tree["discriminator"])


def tree_of(gan: Gan) -> Tree:
    """Returns the weights of a GAN as a checkpoint holds them."""
    return {"generator": list(gan.generator), "discriminator": list(gan.discriminator)}

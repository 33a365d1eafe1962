"""Epochs in which a generator learns to make the teacher's images of the pairs, beside a discriminator of its own."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.federated import Examples
from fedcompress.generators.slim import SlimSpec
from fedcompress.generators.slim_training import Slimming, begun, slim_epoch
from fedcompress.generators.spec import Gan
from fedcompress.generators.training import GanState
from fedcompress.recipes.generate.folder import Row, Tree
from fedcompress.recipes.generate.pairs import Pairs
from fedcompress.recipes.generate.recipe import StepName
from fedcompress.recipes.generate.workshop import Workshop, gan_of, tree_of


class PairEpochs:
    """The epochs of one step, by the loss and the rates of `[student]`.

    Args:
        workshop: What it is done with.
        step: Of the chain.
        spec: The generator's; one that is slim has gammas, on which rho pulls.
        epochs: In all; rates fall over them.
    """

    def __init__(self, workshop: Workshop, step: StepName, spec: SlimSpec, epochs: int) -> None:
        student = workshop.recipe.student
        self._settings = Slimming(**student.model_dump(include=set(Slimming.__dataclass_fields__)))
        self._workshop, self._step, self._spec, self._epochs = workshop, step, spec, epochs

    def begin(self, gan: Gan) -> Tree:
        """Returns the state before the first epoch."""
        return {**tree_of(gan), **asdict(begun(self._spec, gan, self._settings.distance))}

    def train(self, state: Tree, epoch: int) -> tuple[Tree, Row]:
        """Returns the state after an epoch (from 1), and its row."""
        images, z = self._taught
        trained, after = slim_epoch(
            self._spec,
            GanState(state["arrays"], state["steps"]),
            images,
            z,
            self._settings,
            done=(epoch - 1) / self._epochs,
            batch_size=self._workshop.recipe.student.batch_size,
            rng=self._workshop.rng(f"{self._step}.train", epoch),
        )
        row = {"generator_loss": trained.generator_loss, "discriminator_loss": trained.discriminator_loss}
        return {**tree_of(trained.gan), "arrays": after.arrays, "steps": after.steps}, row

    @cached_property
    def _taught(self) -> tuple[Examples, NDArray[np.float32]]:
        """The teacher's images of the pairs, and their noise."""
        teacher = gan_of(self._workshop.folders["teacher"].result())
        pairs = Pairs.of(self._workshop.folders["dataset"].result())
        return pairs.images(self._workshop.teacher, teacher.generator), pairs.z(self._spec.noise)

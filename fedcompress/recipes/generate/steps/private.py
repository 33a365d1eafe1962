"""private: the small generator is trained further, against a discriminator that learns by DP-SGD and is then discarded.

The generator sees no data, only the discriminator's verdicts, so what protects those protects it (post-processing).
"""

from __future__ import annotations

from fedcompress.generators.slim import SMALL, SlimSpec
from fedcompress.generators.spec import Gan
from fedcompress.recipes.generate import private_epochs
from fedcompress.recipes.generate.folder import Row, Tree
from fedcompress.recipes.generate.measuring import EXPORT, exported, figures, grid, plainly, unrounded
from fedcompress.recipes.generate.workshop import Workshop


def run(workshop: Workshop) -> None:
    """Leaves the generator alone, plain and rounded to the student's bits."""
    recipe, folder = workshop.recipe, workshop.folders["private"]
    compressed = workshop.folders["compress"].result()
    discriminator = (compressed if recipe.compress.epochs else workshop.folders["student"].result())["discriminator"]
    bits, noise = recipe.student.bits, workshop.teacher.networks.noise
    spec = SlimSpec(SMALL, workshop.shape, workshop.classes, tuple(compressed["widths"]), bits, noise)

    before = workshop.folders["teacher"].figures()["releases"] if recipe.whole else []

    def begin() -> Tree:
        return private_epochs.begin(recipe, Gan(compressed["generator"], discriminator))

    def train(state: Tree, epoch: int) -> tuple[Tree, Row]:
        return private_epochs.train(workshop, "private", spec, state, epoch, before)

    def shown(state: Tree) -> None:
        grid(workshop, spec, state["generator"], folder.path)

    state, _ = workshop.epochs("private", recipe.private.epochs, begin, train, shown)
    plain = plainly(spec, state["generator"])
    row = {"bits": bits, "widths": compressed["widths"], **figures(workshop, unrounded(spec), plain)}
    row |= exported(workshop, spec, plain, folder.path / EXPORT, score=True)
    folder.finish({"generator": plain}, row | private_epochs.spent(workshop, state, before))

"""student: a copy of the teacher that learns to make the same images with fewer channels and fewer bits."""

from __future__ import annotations

from fedcompress.generators.slim import LAYERS, SlimSpec, of_reference, on
from fedcompress.generators.spec import Gan
from fedcompress.recipes.generate.folder import Row, Tree
from fedcompress.recipes.generate.measuring import figures, grid
from fedcompress.recipes.generate.pair_epochs import PairEpochs
from fedcompress.recipes.generate.workshop import Workshop, gan_of
from fedcompress.wire.content import Arrays


def run(workshop: Workshop) -> None:
    """Slims the student; leaves it with its gammas, and its discriminator."""
    recipe, spec, folder = workshop.recipe.student, workshop.student, workshop.folders["student"]
    epochs = PairEpochs(workshop, "student", spec, recipe.epochs)

    def begin() -> Tree:
        return epochs.begin(_initial(workshop, spec, gan_of(workshop.folders["teacher"].result())))

    def train(state: Tree, epoch: int) -> tuple[Tree, Row]:
        after, row = epochs.train(state, epoch)
        return after, row | _channels(after["generator"])

    def shown(state: Tree) -> None:
        grid(workshop, spec, state["generator"], folder.path)

    state, _ = workshop.epochs("student", recipe.epochs, begin, train, shown)
    row = {"bits": spec.bits, "rho": recipe.rho, **_channels(state["generator"])}
    row |= figures(workshop, spec, state["generator"])
    folder.finish({key: state[key] for key in ("generator", "discriminator")}, row)


def _initial(workshop: Workshop, spec: SlimSpec, teacher: Gan) -> Gan:
    """Returns a copy of the teacher where it has the student's shape; otherwise a student that knows nothing."""
    if workshop.teacher.name == "cgan":
        return Gan(of_reference(spec, teacher.generator), teacher.discriminator)
    return spec.initial(workshop.rng("student.initial"))


def _channels(generator: Arrays) -> Row:
    return {f"{layer}_channels": int(kept.sum()) for layer, kept in zip(LAYERS, on(generator), strict=True)}

"""student: a copy of the teacher that learns to make the same images with fewer channels and fewer bits."""

from __future__ import annotations

from dataclasses import asdict

from fedcompress.generators.slim import LAYERS, SlimSpec, of_reference, on
from fedcompress.generators.slim_training import Slimming, begun, slim_epoch
from fedcompress.generators.spec import Gan
from fedcompress.generators.training import GanState
from fedcompress.recipes.generate.folder import Row, Tree
from fedcompress.recipes.generate.measuring import figures, grid
from fedcompress.recipes.generate.pairs import Pairs
from fedcompress.recipes.generate.workshop import Workshop, gan_of, tree_of
from fedcompress.wire.content import Arrays


def run(workshop: Workshop) -> None:
    """Slims the student; leaves it with its gammas, and its discriminator."""
    recipe, spec, folder = workshop.recipe.student, workshop.student, workshop.folders["student"]
    teacher = gan_of(workshop.folders["teacher"].result())
    pairs = Pairs.of(workshop.folders["dataset"].result())
    images, z = pairs.images(workshop.teacher, teacher.generator), pairs.z(spec.noise)
    settings = Slimming(**recipe.model_dump(include=set(Slimming.__dataclass_fields__)))

    def begin() -> Tree:
        gan = _initial(workshop, spec, teacher)
        return {**tree_of(gan), **asdict(begun(spec, gan, settings.distance))}

    def train(state: Tree, epoch: int) -> tuple[Tree, Row]:
        trained, after = slim_epoch(
            spec,
            GanState(state["arrays"], state["steps"]),
            images,
            z,
            settings,
            done=(epoch - 1) / recipe.epochs,
            batch_size=recipe.batch_size,
            rng=workshop.rng("student.train", epoch),
        )
        row = {"generator_loss": trained.generator_loss, "discriminator_loss": trained.discriminator_loss}
        row |= _channels(trained.gan.generator)
        return {**tree_of(trained.gan), "arrays": after.arrays, "steps": after.steps}, row

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

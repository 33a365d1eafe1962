"""teacher: a conditional GAN that is trained as large as it is."""

from __future__ import annotations

from dataclasses import asdict

from fedcompress.generators.spec import GanSpec
from fedcompress.generators.training import ByEpochs, GanState
from fedcompress.recipes.generate import private_epochs
from fedcompress.recipes.generate.folder import Row, Tree
from fedcompress.recipes.generate.measuring import EXPORT, as_small, exported, figures, grid
from fedcompress.recipes.generate.workshop import Workshop, tree_of


def run(workshop: Workshop) -> None:
    """Trains the teacher; leaves its generator and discriminator."""
    recipe, spec, folder = workshop.recipe, workshop.teacher, workshop.folders["teacher"]
    guide = workshop.guide if recipe.teacher.guide else None
    training = ByEpochs(spec, recipe.teacher.rates(spec.networks), guide, recipe.teacher.guide)

    def begin() -> Tree:
        gan = spec.initial(workshop.rng("teacher.initial"))
        if recipe.whole:
            return private_epochs.begin(recipe, gan)
        learned = workshop.taught(guide) if guide else []
        return {**tree_of(gan), **asdict(training.begun(gan)), "guide": learned}

    def train(state: Tree, epoch: int) -> tuple[Tree, Row]:
        if recipe.whole:
            return private_epochs.train(workshop, "teacher", spec, state, epoch)
        trained, after = training.epoch(
            GanState(state["arrays"], state["steps"]),
            workshop.data.train,
            state["guide"],
            batch_size=recipe.teacher.batch_size,
            rng=workshop.rng("teacher.train", epoch),
        )
        row = {"generator_loss": trained.generator_loss, "discriminator_loss": trained.discriminator_loss}
        return {**tree_of(trained.gan), "arrays": after.arrays, "steps": after.steps, "guide": state["guide"]}, row

    def shown(state: Tree) -> None:
        grid(workshop, spec, state["generator"], folder.path)

    state, _ = workshop.epochs("teacher", recipe.teacher.epochs, begin, train, shown)
    row = {"gan": spec.name, **figures(workshop, spec, state["generator"]), **_files(workshop, spec, state)}
    row |= private_epochs.spent(workshop, state) if recipe.whole else {}
    folder.finish({key: state[key] for key in ("generator", "discriminator")}, row)


def _files(workshop: Workshop, spec: GanSpec, state: Tree) -> Row:
    """Returns sizes of files and latency; of a kind that has no export, nothing."""
    if spec.name != "cgan":
        return {}
    small, plain = as_small(spec, state["generator"])
    return exported(workshop, small, plain, workshop.folders["teacher"].path / EXPORT, score=False)

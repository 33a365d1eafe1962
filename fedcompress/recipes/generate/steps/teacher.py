"""teacher: a conditional GAN that is trained as large as it is."""

from __future__ import annotations

from dataclasses import asdict

from fedcompress.generators.spec import GanSpec
from fedcompress.generators.training import GanState, begun, train_epoch
from fedcompress.recipes.generate import private_epochs
from fedcompress.recipes.generate.folder import Row, Tree
from fedcompress.recipes.generate.measuring import EXPORT, as_small, exported, figures, grid
from fedcompress.recipes.generate.workshop import Workshop, tree_of


def run(workshop: Workshop) -> None:
    """Trains the teacher; leaves its generator and discriminator."""
    recipe, spec, folder = workshop.recipe, workshop.teacher, workshop.folders["teacher"]

    def begin() -> Tree:
        gan = spec.initial(workshop.rng("teacher.initial"))
        if recipe.whole:
            return private_epochs.begin(recipe, gan)
        return {**tree_of(gan), **asdict(begun(spec, gan))}

    def train(state: Tree, epoch: int) -> tuple[Tree, Row]:
        if recipe.whole:
            return private_epochs.train(workshop, "teacher", spec, state, epoch)
        trained, after = train_epoch(
            spec,
            GanState(state["arrays"], state["steps"]),
            workshop.data.train,
            batch_size=recipe.teacher.batch_size,
            rng=workshop.rng("teacher.train", epoch),
        )
        row = {"generator_loss": trained.generator_loss, "discriminator_loss": trained.discriminator_loss}
        return {**tree_of(trained.gan), "arrays": after.arrays, "steps": after.steps}, row

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

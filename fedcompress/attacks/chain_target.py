"""What can be attacked of a chain: the generator that a step has left, and the discriminator where it was kept."""

from __future__ import annotations

from pathlib import Path

from fedcompress.attacks.membership import Target
from fedcompress.errors import InputError, suggestion
from fedcompress.generators.slim import SMALL, SlimSpec
from fedcompress.generators.spec import GanSpec
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.recipes.generate.launch import FILE
from fedcompress.recipes.generate.recipe import GeneratorRecipe, StepName
from fedcompress.recipes.generate.runner import Chain
from fedcompress.recipes.generate.workshop import Workshop
from fedcompress.results.run.directory import RunDirectory

GENERATORS: tuple[StepName, ...] = ("teacher", "student", "compress", "private")
"""Steps that leave a generator."""


def is_chain(path: Path) -> bool:
    """Says whether a directory is that of a chain."""
    return (path / FILE).exists()


def target_of_chain(path: Path, step: str | None) -> Target:
    """Returns the generator of a step; members are the training examples of the chain.

    Args:
        path: Of the chain.
        step: One that leaves a generator; None: the last one that is done.

    Raises:
        InputError: The step leaves none, or is not done, or the data are not what they were.
    """
    if step is not None and step not in GENERATORS:
        raise InputError(f"--step: received {step!r}, which leaves no generator.{suggestion(step, GENERATORS)}")
    options = Options.of(RunDirectory(path).read_json("options.json"), path / "options.json")
    recipe = GeneratorRecipe.load(path / FILE)
    workshop = Chain(recipe, path, Plugins(options.plugins), options.data_dir).workshop
    done = [name for name in GENERATORS if workshop.folders[name].finished]
    if not done or (step is not None and step not in done):
        what = "no step with a generator is" if step is None else f"step {step!r} is not"
        raise InputError(f"{path}: {what} finished; fedcompress resume {path}")
    chosen = next(name for name in GENERATORS if name == (step or done[-1]))
    left = workshop.folders[chosen].result()
    return Target(
        f"{path.name}, step {chosen}",
        _spec(workshop, chosen),
        [list(left["generator"])],
        list(left["discriminator"]) if "discriminator" in left else None,
        workshop.data.train,
        workshop.data.test,
        recipe.seed,
    )


def _spec(workshop: Workshop, step: StepName) -> GanSpec:
    """Returns what a step's weights are of."""
    if step == "teacher":
        return workshop.teacher
    student = workshop.student
    if step == "student":
        return student
    widths = workshop.folders["compress"].result()["widths"]
    return SlimSpec(SMALL, workshop.shape, workshop.classes, tuple(widths), student.bits, student.noise)

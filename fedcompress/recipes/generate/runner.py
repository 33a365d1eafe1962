"""Runs a chain: every step from the first that is not done, each on disk as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from fedcompress.data.loading import load_dataset
from fedcompress.errors import InputError, located
from fedcompress.generators.spec import GanSpec
from fedcompress.plugins import Plugins
from fedcompress.recipes.generate import private_epochs
from fedcompress.recipes.generate.folder import Row, StepFolder
from fedcompress.recipes.generate.recipe import STEPS, GeneratorRecipe, StepName
from fedcompress.recipes.generate.workshop import Observer, Workshop, random_numbers
from fedcompress.recipes.loading import split
from fedcompress.recipes.recipe import RecipeData
from fedcompress.units import counted

LEAST_REAL = 2
"""Real examples without which there is no distance between them."""


class Chain:
    """A recipe in a directory: data loaded, everything checked before anything is trained.

    Args:
        recipe: What to do.
        path: Of the run; need not exist.
        plugins: Finds data sets.
        data_dir: Where data sets are looked for first.

    Raises:
        InputError: Data or settings are wrong.
    """

    def __init__(self, recipe: GeneratorRecipe, path: Path, plugins: Plugins, data_dir: Path | None) -> None:
        settings = recipe.data
        dataset = load_dataset(settings.dataset, data_dir=data_dir, classes=settings.classes, plugins=plugins)
        with located(f"data.dataset {settings.dataset!r}"):
            GanSpec(recipe.teacher.gan, dataset.x_train.shape[1:], dataset.classes)
        data = split(
            dataset, RecipeData(**settings.model_dump()), lambda purpose: random_numbers(recipe.seed, f"data.{purpose}")
        )
        if len(data.train) < LEAST_REAL:
            raise InputError(
                f"data.examples: received {counted(len(data.train), 'example')} to learn from, expected {LEAST_REAL} "
                "or more: samples are judged by distances between examples; raise it, or use a larger data set."
            )
        keys = recipe.keys(dataset.digest)
        folders: Mapping[StepName, StepFolder] = {step: StepFolder(path / step, keys[step]) for step in STEPS}
        self.workshop = Workshop(recipe, data, dataset.classes, dataset.digest, folders)

    def check(self, first: StepName | None, last: StepName) -> None:
        """Checks what is there before a chain is begun at a step, and that private steps up to the last can be done.

        Raises:
            InputError: A step before the first is not done, or was done otherwise; or the first is after the last; or
                a private step would not train its generator, or cannot keep to its budget.
        """
        asked = STEPS[STEPS.index(first or STEPS[0]) : STEPS.index(last) + 1]
        if problems := list(private_epochs.problems(self.workshop.recipe, len(self.workshop.data.train), asked)):
            raise InputError(problems)
        if first is None:
            return
        if STEPS.index(first) > STEPS.index(last):
            raise InputError(f"--until {last}: comes before --from {first}; the steps are {', '.join(STEPS)}.")
        for step in STEPS[: STEPS.index(first)]:
            folder = self.workshop.folders[step]
            if not folder.finished:
                why = "was made with other settings or data" if folder.stale else "is not finished there"
                raise InputError(f"--from {first}: {folder.path.parent}: step {step!r} {why}; use --from {step}.")
            self._check_alike(first, step, folder.figures())

    def _check_alike(self, first: StepName, step: StepName, before: Row) -> None:
        """Raises InputError if a step was measured otherwise than those that follow would be."""
        asked = self.workshop.recipe.figures
        for key, figure, value in (("on", "scored_on", asked.on), ("samples", "scored_by", asked.samples)):
            if before.get(figure, value) != value:
                raise InputError(
                    f"--from {first}: figures.{key}: received {value!r}, but step {step!r} was measured with "
                    f"{before[figure]!r}, and they stand in one table; use that, or --from {step}."
                )

    def run(self, observer: Observer, first: StepName | None, last: StepName) -> None:
        """Does what is not done, from `first` on in any case, up to `last`."""
        workshop = replace(self.workshop, observer=observer)
        if first is not None:
            for step in STEPS[STEPS.index(first) :]:
                workshop.folders[step].clear()
        for step in STEPS[: STEPS.index(last) + 1]:
            folder = workshop.folders[step]
            if not folder.finished:
                folder.begin()
                import_module(f"fedcompress.recipes.generate.steps.{step}").run(workshop)
                observer.finished(step, folder.figures())

    def rows(self) -> list[Row]:
        """Returns the figures of every step that is done."""
        folders = self.workshop.folders
        return [{"step": step, **folders[step].figures()} for step in STEPS if folders[step].finished]

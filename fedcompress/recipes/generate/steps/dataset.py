"""dataset: noise and labels of the samples that the student learns from."""

from __future__ import annotations

from fedcompress.recipes.generate.folder import RESULT
from fedcompress.recipes.generate.measuring import grid
from fedcompress.recipes.generate.pairs import Pairs
from fedcompress.recipes.generate.workshop import Workshop


def run(workshop: Workshop) -> None:
    """Draws seeds of noise, and labels."""
    folder, count = workshop.folders["dataset"], workshop.recipe.dataset.pairs
    workshop.observer.started("dataset", 0, 0)
    pairs = Pairs.drawn(count, workshop.classes, workshop.rng("dataset"))
    grid(workshop, workshop.teacher, workshop.folders["teacher"].result()["generator"], folder.path)
    folder.finish(pairs.tree(), {"pairs": count, "file": RESULT})

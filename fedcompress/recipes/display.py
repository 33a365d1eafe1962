"""What a recipe looks like while it runs."""

from __future__ import annotations

from typing import Any

from fedcompress.progress import ProgressLine
from fedcompress.recipes.bench import CurvePoint
from fedcompress.recipes.runner import Observer
from fedcompress.recipes.table import Row
from fedcompress.units import number


class RecipeDisplay(ProgressLine, Observer):
    """An observer: a line per result, and over all experiments a live one on a terminal or in a notebook.

    Args:
        what: Is running.
        unit: Of what is counted, in the plural.
    """

    def __init__(self, what: str = "recipe", unit: str = "experiments") -> None:
        super().__init__(what, unit)

    def __exit__(self, kind: type[BaseException] | None, *how: Any) -> None:
        if kind is None and self.has_begun:
            self.update(self._total)
        super().__exit__(kind, *how)

    def started(self, label: str, seed: int, number: int, total: int) -> None:
        """Shows the experiment that begins."""
        if not self.has_begun:
            self.begin(total, number - 1)
        self.update(number - 1, ["training"], f"{label}, seed {seed}")
        self.note(f"{self._label}: {self._unit.removesuffix('s')} {number} of {total}")

    def epoch_done(self, point: CurvePoint) -> None:
        """Shows an epoch."""
        accuracy, sparsity = f"validation {number(point.validation)}", f"sparsity {number(point.sparsity, 3)}"
        self.show([f"{point.phase}, epoch {point.epoch}", accuracy, sparsity])

    def outcome(self, row: Row) -> None:
        """Shows a result."""
        what = f"{self._label}{' ' if row['step'] else ''}{row['step']}"
        self.say(f"{what}: test {number(row['test'])}, sparsity {number(row['sparsity'], 3)}, {self.elapsed:.0f} s")

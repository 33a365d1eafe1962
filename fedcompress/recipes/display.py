"""What a recipe looks like while it runs."""

from __future__ import annotations

from typing import Any

from fedcompress.progress import ProgressLine
from fedcompress.recipes.bench import CurvePoint
from fedcompress.units import number


class RecipeDisplay(ProgressLine):
    """An observer: a line per result, and over all experiments a live one on a terminal or in a notebook."""

    def __init__(self) -> None:
        super().__init__("recipe", "experiments")

    def __exit__(self, kind: type[BaseException] | None, *how: Any) -> None:
        if kind is None and self.has_begun:
            self.update(self._total)
        super().__exit__(kind, *how)

    def started(self, label: str, seed: int, number: int, total: int) -> None:
        """Shows the experiment that begins."""
        if not self.has_begun:
            self.begin(total, number - 1)
        self.update(number - 1, ["training"], f"{label}, seed {seed}")
        self.note(f"{self._label}: experiment {number} of {total}")

    def epoch_done(self, point: CurvePoint) -> None:
        """Shows an epoch."""
        accuracy, sparsity = f"validation {number(point.validation)}", f"sparsity {number(point.sparsity, 3)}"
        self.show([f"{point.phase}, epoch {point.epoch}", accuracy, sparsity])

    def outcome(self, row: dict[str, Any]) -> None:
        """Shows a result."""
        what = f"{self._label}{' ' if row['step'] else ''}{row['step']}"
        self.say(f"{what}: test {number(row['test'])}, sparsity {number(row['sparsity'], 3)}, {self.elapsed:.0f} s")

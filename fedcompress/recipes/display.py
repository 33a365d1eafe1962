"""What a recipe looks like while it runs."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from fedcompress.progress import ProgressLine
from fedcompress.recipes.bench import CurvePoint
from fedcompress.recipes.runner import Observer
from fedcompress.recipes.table import Row
from fedcompress.units import number


class RecipeDisplay(Observer):
    """An observer: a line per result, and over all experiments a live one on a terminal or in a notebook.

    Args:
        what: Is running.
        unit: Of what is counted, in the plural.
    """

    def __init__(self, what: str = "recipe", unit: str = "experiments") -> None:
        self._line, self._unit = ProgressLine(what, unit), unit
        self._label = ""
        self._total: int | None = None
        self._started = time.perf_counter()

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._total is not None:
            self._line.update(self._total, [])
        self._line.__exit__(kind, error, trace)

    def started(self, label: str, seed: int, number: int, total: int) -> None:
        """Shows the experiment that begins."""
        if self._total is None:
            self._line.begin(total, number - 1)
        self._total, self._label = total, f"{label}, seed {seed}"
        self._line.update(number - 1, ["training"], self._label)
        if not self._line.live:
            self._line.say(f"{self._label}: {self._unit.removesuffix('s')} {number} of {total}")

    def epoch_done(self, point: CurvePoint) -> None:
        """Shows an epoch."""
        accuracy, sparsity = f"validation {number(point.validation)}", f"sparsity {number(point.sparsity, 3)}"
        self._line.show([f"{point.phase}, epoch {point.epoch}", accuracy, sparsity])

    def outcome(self, row: Row) -> None:
        """Shows a result."""
        what = f"{self._label}{' ' if row['step'] else ''}{row['step']}"
        elapsed = time.perf_counter() - self._started
        self._line.say(f"{what}: test {number(row['test'])}, sparsity {number(row['sparsity'], 3)}, {elapsed:.0f} s")

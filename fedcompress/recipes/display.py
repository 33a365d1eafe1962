"""What a recipe looks like while it runs."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fedcompress.recipes.bench import CurvePoint
from fedcompress.units import number


class RecipeDisplay:
    """An observer: a live bar over experiments on a terminal, a line per result elsewhere; always on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._label = ""
        self._started = time.perf_counter()
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("experiments, {task.fields[status]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None, status="reading data")

    def __enter__(self) -> RecipeDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, label: str, seed: int, number: int, total: int) -> None:
        """Shows the experiment that begins."""
        self._label = f"{label}, seed {seed}"
        self._progress.update(self._task, description=self._label, completed=number - 1, total=total, status="training")
        if not self._console.is_terminal:
            self._console.print(f"{self._label}: experiment {number} of {total}")

    def epoch_done(self, point: CurvePoint) -> None:
        """Shows an epoch."""
        accuracy = f"validation {number(point.validation)}, sparsity {number(point.sparsity, 3)}"
        self._progress.update(self._task, status=f"{point.phase}, epoch {point.epoch}: {accuracy}")

    def outcome(self, row: dict[str, Any]) -> None:
        """Shows a result."""
        what = f"{self._label}{' ' if row['step'] else ''}{row['step']}"
        elapsed = time.perf_counter() - self._started
        self._console.print(
            f"{what}: test {number(row['test'])}, sparsity {number(row['sparsity'], 3)}, {elapsed:.0f} s"
        )

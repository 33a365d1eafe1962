"""The epochs of a recipe, sent to the trackers that federations have: each experiment with each seed is a run there."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from fedcompress.recipes.bench import CurvePoint
from fedcompress.recipes.recipe import Recipe
from fedcompress.recipes.table import Row
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.runs import flat_settings
from fedcompress.tracking.base import Tracked
from fedcompress.tracking.trackers import FOLDER, GuardedTrackers, finite, key_of

_FINAL = (
    *("test", "validation", "train", "sparsity", "bits", "deflated_bytes", "parameters"),
    *("seconds", "shared_seconds"),
)
"""Figures of a row that are sent."""


class TaskTrackers(GuardedTrackers):
    """The trackers of one experiment with one seed, while it runs; none unless the recipe has `[tracking]`.

    Attributes:
        rows: What came out, to be sent at the end.

    Args:
        recipe: Whose experiment it is.
        stem: Name of the experiment's files.
        directory: Of the recipe.
        then: Is told of each epoch, too.
    """

    def __init__(self, recipe: Recipe, stem: str, directory: RunDirectory, then: Callable[[CurvePoint], None]) -> None:
        super().__init__([])
        self.rows: list[Row] = []
        self._recipe, self._stem, self._directory, self._then = recipe, stem, directory, then
        self._epochs = 0

    def __enter__(self) -> TaskTrackers:
        if self._recipe.tracking is not None:
            self.start(self._recipe.tracking, self._tracked, 1)
        return self

    def _tracked(self) -> Tracked:
        path, config = self._directory.path, dict(flat_settings(self._recipe.table()))
        key = key_of(self._directory, f"{self._stem}/")
        return Tracked(f"{path.name}-{self._stem}", self._recipe.name, key, config, path / FOLDER / self._stem)

    def epoch_done(self, point: CurvePoint) -> None:
        """Sends an epoch; its number counts on from one training of the experiment to the next."""
        self._epochs += 1
        self.each(lambda tracker: tracker.log(self._epochs, _of_epoch(point)))
        self._then(point)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.each(lambda tracker: tracker.close(_of_rows(self.rows), completed=kind is None))


def _of_rows(rows: list[Row]) -> dict[str, float]:
    """Returns the figures of what came out; with the step in their names where it is several."""
    final: dict[str, Any] = {}
    for row in rows:
        group = f"final {row['step']}".rstrip()
        final |= {f"{group}/{name}": row.get(name) for name in _FINAL}
    return finite(final)


def _of_epoch(point: CurvePoint) -> dict[str, float]:
    layers = {f"sparsity {point.phase}/layer {i}": s for i, s in enumerate(point.layers, 1)}
    figures = ("loss", "validation", "validation_loss", "sparsity")
    return finite({**{f"{point.phase}/{name}": getattr(point, name) for name in figures}, **layers})

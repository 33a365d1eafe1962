"""What a step of the chain leaves: a folder of its own, from which it goes on, and which later steps read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcompress.errors import InputError
from fedcompress.results.run.directory import RunDirectory, as_csv
from fedcompress.tree import load_tree, save_tree

Row = dict[str, Any]
Tree = dict[str, Any]
CHECKPOINT, RESULT, FIGURES, LOSSES = "checkpoint.npz", "result.npz", "figures.json", "losses.csv"


class StepFolder:
    """One step on disk. It is finished once it has its figures; they name what decided them by its digest.

    Args:
        path: Need not exist.
        key: Digest of everything that decides what the step leaves.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self._key = path, key

    @property
    def finished(self) -> bool:
        """Whether the step was done, with the same settings and after the same steps."""
        return self._named == self._key

    @property
    def stale(self) -> bool:
        """Whether the step was done, but with other settings."""
        return self._named not in (None, self._key)

    @property
    def _named(self) -> str | None:
        return str(self._read().get("key")) if (self.path / FIGURES).exists() else None

    def figures(self) -> Row:
        """Returns what was measured."""
        return {key: value for key, value in self._read().items() if key != "key"}

    def _read(self) -> Row:
        return RunDirectory(self.path).read_json(FIGURES)

    def begin(self) -> None:
        """Makes the folder; what is in it of other settings goes."""
        checkpoint = self.path / CHECKPOINT
        if self.path.exists() and not (checkpoint.exists() and load_tree(checkpoint)["key"] == self._key):
            self.clear()
        self.path.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Removes the folder, if there is one."""
        if self.path.exists():
            shutil.rmtree(self.path)

    def checkpoint(self) -> Tree | None:
        """Returns what was saved last, if the step was interrupted."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        tree: Tree = load_tree(path)["tree"]
        return tree

    def save(self, tree: Tree, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the checkpoint, and writes a row for each epoch so far."""
        save_tree(self.path / CHECKPOINT, {"key": self._key, "tree": tree})
        RunDirectory(self.path).write_text(LOSSES, as_csv(rows, rows[0]))

    def finish(self, result: Tree, figures: Row) -> None:
        """Writes what later steps need and what was measured; the checkpoint goes."""
        save_tree(self.path / RESULT, result)
        RunDirectory(self.path).write_json(FIGURES, {"key": self._key, **figures})
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def result(self) -> Tree:
        """Returns what a finished step left for later ones.

        Raises:
            InputError: It is absent or damaged.
        """
        path = self.path / RESULT
        if not path.exists():
            raise InputError(f"{path}: is missing; run that step again with --from {self.path.name}.")
        tree: Tree = load_tree(path)
        return tree

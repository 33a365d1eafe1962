"""The checkpoint of a run: the last whole round, enough to go on to the identical result."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcompress.engines.states import ClientStates
from fedcompress.results.run_directory import ROWS, RunDirectory
from fedcompress.results.tree import load_tree, save_tree
from fedcompress.strategy import State
from fedcompress.wire.references import References, from_tree, to_tree

FOLDER, FILE, CLIENTS = "checkpoint", "round.npz", "clients"


@dataclass(frozen=True)
class Checkpoint:
    """What a run goes on from.

    Attributes:
        round: The last whole round.
        state: State of the server strategy after it.
        references: Partition -> what the server and the client both hold.
    """

    round: int
    state: State
    references: dict[int, References]


class Checkpoints:
    """Writes and reads the checkpoint of one run.

    The one file `round.npz` is replaced in one step after everything that it points to is written; so a run that is
    killed at any moment has either the old checkpoint or the new one.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._folder = directory.path / FOLDER
        self.states = ClientStates(self._folder / CLIENTS)

    @property
    def exists(self) -> bool:
        """Whether a round has been finished."""
        return (self._folder / FILE).exists()

    def save(self, checkpoint: Checkpoint) -> None:
        """Makes a round lasting; its rows have to be written before."""
        self._folder.mkdir(exist_ok=True)
        files = self.states.commit(checkpoint.round)
        tree: dict[str, Any] = {
            "round": checkpoint.round,
            "state": checkpoint.state,
            "references": to_tree(checkpoint.references),
            "clients": {str(p): name for p, name in files.items()},
            "lengths": {name: self._rows(name).stat().st_size for name in ROWS},
        }
        save_tree(self._folder / FILE, tree)
        self.states.clean()

    def load(self) -> Checkpoint:
        """Returns the checkpoint, and takes back rows and client states of a round that was not finished."""
        tree = load_tree(self._folder / FILE)
        for name in ROWS:
            with self._rows(name).open("r+b") as file:
                file.truncate(tree["lengths"][name])
        self.states.restore({int(p): name for p, name in tree["clients"].items()}, tree["round"])
        self.states.clean()
        return Checkpoint(tree["round"], tree["state"], from_tree(tree["references"]))

    def reset(self) -> None:
        """Takes back everything of a run that has not finished a round."""
        for name in ROWS:
            self._rows(name).write_bytes(b"")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _rows(self, name: str) -> Path:
        return self._directory.path / f"{name}.jsonl"

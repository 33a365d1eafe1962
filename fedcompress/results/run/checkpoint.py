"""The checkpoint of a run: the last whole round, enough to go on to the identical result.

It names digests of all that it stands on: rows, states of clients, the run that it belongs to. They are checked before
anything is changed, so that a run goes on to the result that it would have had, or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedcompress.errors import InputError
from fedcompress.files import open_to_read
from fedcompress.results.run.directory import ROWS, RunDirectory
from fedcompress.results.run.states import ClientStates
from fedcompress.strategy import State
from fedcompress.tree import load_tree, save_tree
from fedcompress.units import counted
from fedcompress.wire.references import References, from_tree, to_tree

FOLDER, FILE, CLIENTS = "checkpoint", "round.npz", "clients"
_IDENTITY = ("start", "seed", "scenario_digest", "data_digest", "plugins_digest")
"""What in `provenance.json` tells one run from every other."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """What a run goes on from.

    Attributes:
        round: The last whole round.
        state: State of the server strategy after it.
        references: Partition -> what the server and the client both hold.
        releases: Rows of `privacy.jsonl`.
    """

    round: int
    state: State
    references: dict[int, References]
    releases: list[dict[str, Any]] = field(default_factory=list)


class _Rows:
    """Length and digest of a file of rows as far as rounds are whole; what has been read is not read again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.length = 0
        self._digest = sha256()

    def read(self, until: int | None = None) -> dict[str, Any]:
        """Takes in what follows, to the end of the file or until a length, and returns length and digest."""
        with open_to_read(self.path) as file:
            file.seek(self.length)
            while chunk := file.read(_CHUNK if until is None else min(_CHUNK, until - self.length)):
                self._digest.update(chunk)
                self.length += len(chunk)
        return {"length": self.length, "digest": self._digest.hexdigest()}


class Checkpoints:
    """Writes and reads the checkpoint of one run.

    The one file `round.npz` is replaced in one step after everything that it points to is written; so a run that is
    killed at any moment has either the old checkpoint or the new one.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._folder = directory.path / FOLDER
        self.states = ClientStates(self._folder / CLIENTS)
        self._rows = self._unread()

    @property
    def exists(self) -> bool:
        """Whether a round has been finished."""
        return (self._folder / FILE).exists()

    def save(self, checkpoint: Checkpoint) -> None:
        """Makes a round lasting; its rows have to be written before."""
        self._folder.mkdir(exist_ok=True)
        files = self.states.commit(checkpoint.round)
        tree: dict[str, Any] = {
            "run": self._run,
            "round": checkpoint.round,
            "state": checkpoint.state,
            "references": to_tree(checkpoint.references),
            "releases": checkpoint.releases,
            "clients": {str(p): name for p, name in files.items()},
            "client_arrays": {str(p): digests for p, digests in self.states.arrays.items()},
            "rows": {name: rows.read() for name, rows in self._rows.items()},
        }
        save_tree(self._folder / FILE, tree)
        self.states.clean()

    def load(self) -> Checkpoint:
        """Returns the checkpoint, and takes back rows and client states of a round that was not finished.

        Raises:
            InputError: Something of it is absent, damaged, or another run's; nothing has been changed then.
        """
        tree = load_tree(self._folder / FILE)
        if problems := [*self._other_run(tree["run"]), *self._other_rows(tree["rows"])]:
            raise InputError(problems)
        arrays = {int(p): digests for p, digests in tree.get("client_arrays", {}).items()}
        self.states.restore({int(p): name for p, name in tree["clients"].items()}, tree["round"], arrays)
        for name, rows in self._rows.items():
            with rows.path.open("r+b") as file:
                file.truncate(tree["rows"][name]["length"])
        self.states.clean()
        return self._of(tree)

    @staticmethod
    def _of(tree: Mapping[str, Any]) -> Checkpoint:
        return Checkpoint(tree["round"], tree["state"], from_tree(tree["references"]), tree.get("releases", []))

    def read(self) -> Checkpoint:
        """Returns the checkpoint of a run that is completed, and changes nothing.

        Raises:
            InputError: It is absent, damaged, or another run's.
        """
        tree = load_tree(self._folder / FILE)
        if problems := [*self._other_run(tree["run"])]:
            raise InputError(problems)
        return self._of(tree)

    def reset(self) -> None:
        """Takes back everything of a run that has not finished a round.

        Raises:
            InputError: It has finished some: their checkpoint is lost. Nothing has been changed then.
        """
        if (rounds := self._rows["rounds"].path.read_bytes().count(b"\n")) > 1:
            raise InputError(
                f"{self._folder / FILE}: is absent, though rows of {counted(rounds, 'round')} are written; "
                "start a new run."
            )
        for rows in self._rows.values():
            rows.path.write_bytes(b"")
        self._rows = self._unread()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _unread(self) -> dict[str, _Rows]:
        return {name: _Rows(self._directory.path / f"{name}.jsonl") for name in ROWS}

    @cached_property
    def _run(self) -> dict[str, Any]:
        """What this run is told by."""
        made_with = self._directory.read_json("provenance.json")
        return {key: made_with.get(key) for key in _IDENTITY}

    def _other_run(self, run: Mapping[str, Any]) -> Iterable[str]:
        """Says in what the checkpoint is of another run than the directory."""
        if differing := [key for key in _IDENTITY if run.get(key) != self._run[key]]:
            yield (
                f"{self._folder / FILE}: is of another run than {self._directory.path / 'provenance.json'}, by its "
                f"{', '.join(differing)}; put back what belongs there, or start a new run."
            )

    def _other_rows(self, recorded: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
        """Says which rows are not those of the rounds up to the checkpoint."""
        self._rows = self._unread()
        for name, rows in self._rows.items():
            wanted = recorded[name]
            try:
                on_disk = rows.read(until=wanted["length"])
            except OSError as error:
                yield f"{rows.path}: cannot be read: {error.strerror}; put it back, or start a new run."
                continue
            if on_disk["length"] < wanted["length"]:
                yield (
                    f"{rows.path}: has {on_disk['length']} bytes, but the rounds up to the checkpoint take "
                    f"{wanted['length']}: it was cut off. Put it back, or start a new run."
                )
            elif on_disk != wanted:
                yield f"{rows.path}: is not what the run wrote up to its checkpoint; put it back, or start a new run."

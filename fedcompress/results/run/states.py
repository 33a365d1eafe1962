"""What clients keep between actions, held for them by the driver: a bounded part in memory, the rest on disk."""

from __future__ import annotations

import re
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from threading import Lock

from fedcompress.errors import InputError
from fedcompress.files import open_to_read

MEMORY_LIMIT = 64 * 2**20
"""Bytes of client states that stay in memory."""


class ClientStates:
    """Partition -> state as bytes; empty states take no room.

    A state that is put is visible at once; `commit` makes those of a whole round lasting, and what has not been
    committed when the process dies never was. A file's name ends in the digest of its content, which is taken while it
    is written: what a checkpoint names is checked against the names alone.

    Args:
        folder: Where states are written; a temporary one if None.
        limit: Bytes that stay in memory.
    """

    def __init__(self, folder: Path | None = None, limit: int = MEMORY_LIMIT) -> None:
        self._temporary = tempfile.TemporaryDirectory() if folder is None else None
        self._folder = folder or Path(self._temporary.name)  # type: ignore[union-attr]
        self._limit = limit
        self._memory: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0
        self._written: dict[int, str] = {}
        self._committed: dict[int, str] = {}
        self._changed: set[int] = set()
        self._generation = 0
        self._lock = Lock()

    def get(self, partition: int) -> bytes:
        """Returns a client's state, empty if it has none."""
        with self._lock:
            if partition in self._memory:
                self._memory.move_to_end(partition)
                return self._memory[partition]
            name = self._written.get(partition)
            return (self._folder / name).read_bytes() if name else b""

    def put(self, partition: int, state: bytes) -> None:
        """Replaces a client's state."""
        with self._lock:
            self._size += len(state) - len(self._memory.pop(partition, b""))
            self._memory[partition] = state
            self._changed.add(partition)
            while self._size > self._limit and self._memory:
                oldest, evicted = self._memory.popitem(last=False)
                self._size -= len(evicted)
                if oldest in self._changed:
                    self._write(oldest, evicted)

    def commit(self, generation: int) -> dict[int, str]:
        """Writes the states that changed and returns partition -> file of all; older files stay until `clean`.

        Args:
            generation: Number of the round that is over.
        """
        with self._lock:
            for partition in sorted(self._changed & self._memory.keys()):
                self._write(partition, self._memory[partition])
            self._generation = generation
            self._committed = dict(self._written)
            return dict(self._committed)

    def clean(self) -> None:
        """Deletes the files that the last commit replaced; call it once the commit is recorded."""
        with self._lock:
            current = set(self._written.values())
            for path in self._folder.glob("*.state"):
                if path.name not in current:
                    path.unlink()

    def restore(self, files: Mapping[int, str], generation: int) -> None:
        """Goes back to what a commit returned.

        Raises:
            InputError: A file is absent, damaged or another's; nothing has changed then.
        """
        if problems := [p for partition, name in files.items() if (p := self._problem(partition, name))]:
            raise InputError(problems)
        with self._lock:
            self._written, self._committed = dict(files), dict(files)
            self._memory.clear()
            self._changed.clear()
            self._size, self._generation = 0, generation

    def _problem(self, partition: int, name: str) -> str | None:
        """Returns what is wrong with the file of a client's state, or None."""
        path = self._folder / name
        named = re.fullmatch(rf"{partition}-\d+-([0-9a-f]+)\.state", name)
        if named is None:
            return f"{path}: is not the state of client {partition}."
        try:
            with open_to_read(path) as file:
                digest = _digest(file.read())
        except OSError as error:
            return f"{path}: the state of client {partition} cannot be read: {error.strerror}."
        if digest != named[1]:
            return f"{path}: is damaged: its content has the digest {digest}, and its name another."
        return None

    def _write(self, partition: int, state: bytes) -> None:
        """Writes one state under the name of the round that is under way; the committed file stays as it is."""
        self._changed.discard(partition)
        replaced = self._written.pop(partition, None)
        if replaced is not None and replaced != self._committed.get(partition):
            (self._folder / replaced).unlink(missing_ok=True)
        if not state:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{partition}-{self._generation + 1}-{_digest(state)}.state"
        (self._folder / name).write_bytes(state)
        self._written[partition] = name


def _digest(state: bytes) -> str:
    return sha256(state).hexdigest()[:32]

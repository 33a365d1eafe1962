"""What clients keep between actions, held for them by the driver: a bounded part in memory, the rest on disk."""

from __future__ import annotations

import mmap
import re
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock

from fedcompress.errors import InputError
from fedcompress.files import open_to_read
from fedcompress.wire.keeping import Data, Kept, digest_of

MEMORY_LIMIT = 64 * 2**20
"""Bytes of client states that stay in memory."""


class ClientStates:
    """Partition -> what a client keeps; empty states take no room.

    A state that is put is visible at once; `commit` makes those of a whole round lasting, and what has not been
    committed when the process dies never was. A file's name ends in the digest of its content, which is taken while it
    is written: what a checkpoint names is checked against the names alone. Large arrays are in files of their own,
    which are called by their digests, so that one that several clients keep is there once; they are read as they are
    needed, mapped into memory.

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
        self._arrays: dict[str, Data] = {}
        """Digest -> data of the arrays in memory."""
        self._on_disk: set[str] = set()
        self._of: dict[int, Sequence[str]] = {}
        """Partition -> digests of its arrays."""
        self._keepers: Counter[str] = Counter()
        """Digest -> number of the states that it is in."""
        self._lock = Lock()

    @property
    def arrays(self) -> dict[int, list[str]]:
        """Partition -> digests of the large arrays of its state."""
        return {partition: list(digests) for partition, digests in self._of.items() if digests}

    def get(self, partition: int) -> Kept:
        """Returns a client's state, empty if it has none."""
        with self._lock:
            arrays = {digest: self._data(digest) for digest in self._of.get(partition, ())}
            if partition in self._memory:
                self._memory.move_to_end(partition)
                return Kept(self._memory[partition], arrays)
            name = self._written.get(partition)
            return Kept((self._folder / name).read_bytes() if name else b"", arrays)

    def put(self, partition: int, state: Kept) -> None:
        """Replaces a client's state."""
        with self._lock:
            self._size += len(state.records) - len(self._memory.pop(partition, b""))
            self._memory[partition] = state.records
            self._changed.add(partition)
            self._keep(partition, state.arrays)
            while self._size > self._limit and self._memory:
                oldest, evicted = self._memory.popitem(last=False)
                self._size -= len(evicted)
                if oldest in self._changed:
                    self._write(oldest, evicted)
                self._write_arrays(oldest)

    def _keep(self, partition: int, arrays: Mapping[str, Data]) -> None:
        """Takes in the arrays of a state, and lets those of the one before go that no other state has."""
        for digest, data in arrays.items():
            if digest not in self._arrays and digest not in self._on_disk:
                self._arrays[digest] = data
                self._size += len(data)
        before, self._of[partition] = self._of.get(partition, ()), tuple(arrays)
        self._keepers.update(arrays.keys())
        for digest in before:
            self._keepers[digest] -= 1
            if not self._keepers[digest]:
                del self._keepers[digest]
                self._size -= len(self._arrays.pop(digest, b""))

    def _data(self, digest: str) -> Data:
        if digest in self._arrays:
            return self._arrays[digest]
        with (self._folder / f"{digest}.array").open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def _write_arrays(self, partition: int) -> None:
        """Moves a state's arrays from memory to disk."""
        for digest in self._of.get(partition, ()):
            data = self._arrays.pop(digest, None)
            if data is not None:
                self._size -= len(data)
                self._folder.mkdir(parents=True, exist_ok=True)
                (self._folder / f"{digest}.array").write_bytes(data)
                self._on_disk.add(digest)

    def commit(self, generation: int) -> dict[int, str]:
        """Writes the states that changed and returns partition -> file of all; older files stay until `clean`.

        Args:
            generation: Number of the round that is over.
        """
        with self._lock:
            for partition in sorted(self._changed & self._memory.keys()):
                self._write(partition, self._memory[partition])
                self._write_arrays(partition)
            self._generation = generation
            self._committed = dict(self._written)
            return dict(self._committed)

    def clean(self) -> None:
        """Deletes the files that the last commit replaced; call it once the commit is recorded."""
        with self._lock:
            self._on_disk &= self._keepers.keys()
            current = {*self._written.values(), *(f"{digest}.array" for digest in self._on_disk)}
            for path in [*self._folder.glob("*.state"), *self._folder.glob("*.array")]:
                if path.name not in current:
                    path.unlink()

    def restore(
        self, files: Mapping[int, str], generation: int, arrays: Mapping[int, Sequence[str]] | None = None
    ) -> None:
        """Goes back to what a commit returned.

        Args:
            files: What it returned.
            generation: Of that commit.
            arrays: What `arrays` was then; None for none.

        Raises:
            InputError: A file is absent, damaged or another's; nothing has changed then.
        """
        if problems := list(self._problems(files, arrays or {})):
            raise InputError(problems)
        with self._lock:
            self._written, self._committed = dict(files), dict(files)
            self._of = {partition: tuple(digests) for partition, digests in (arrays or {}).items()}
            self._keepers = Counter(digest for digests in self._of.values() for digest in digests)
            self._on_disk = set(self._keepers)
            self._arrays.clear()
            self._memory.clear()
            self._changed.clear()
            self._size, self._generation = 0, generation

    def _problems(self, files: Mapping[int, str], arrays: Mapping[int, Sequence[str]]) -> Iterator[str]:
        """Yields what is wrong with the files of clients' states; one that several keep is looked at once."""
        for partition, name in files.items():
            named = re.fullmatch(rf"{partition}-\d+-([0-9a-f]+)\.state", name)
            if named is None:
                yield f"{self._folder / name}: is not the state of client {partition}."
            else:
                yield from self._damaged(partition, name, named[1])
        keepers = {digest: partition for partition, digests in arrays.items() for digest in digests}
        for digest, partition in keepers.items():
            yield from self._damaged(partition, f"{digest}.array", digest)

    def _damaged(self, partition: int, name: str, expected: str) -> Iterator[str]:
        path = self._folder / name
        try:
            with open_to_read(path) as file:
                digest = digest_of(file.read())
        except OSError as error:
            yield f"{path}: the state of client {partition} cannot be read: {error.strerror}."
            return
        if digest != expected:
            yield f"{path}: is damaged: its content has the digest {digest}, and its name another."

    def _write(self, partition: int, state: bytes) -> None:
        """Writes one state under the name of the round that is under way; the committed file stays as it is."""
        self._changed.discard(partition)
        replaced = self._written.pop(partition, None)
        if replaced is not None and replaced != self._committed.get(partition):
            (self._folder / replaced).unlink(missing_ok=True)
        if not state:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{partition}-{self._generation + 1}-{digest_of(state)}.state"
        (self._folder / name).write_bytes(state)
        self._written[partition] = name

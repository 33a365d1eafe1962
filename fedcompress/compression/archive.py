"""An archive of good channel masks: which channels of a network to keep, at which sparsity, and how well that did.

A text file. Its first line says what it is; each other one is a JSON object, sorted by network, data set, sparsity and
accuracy:

    {"accuracy": 0.981, "channels": {"conv2d": "110100", ...}, "classes": 10, "data_digest": "6f1a...",
     "input": [28, 28, 1], "network": "lenet5", "sparsity": 0.5}

`sparsity` is the fraction of the channels that go, `accuracy` is on validation examples, a "1" is a channel that stays.
Masks of earlier versions say no data set: they stay, and are of none that is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedcompress.errors import InputError
from fedcompress.files import write_text
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.channels import Kept

FORMAT = "fedcompress channel masks, version 1"


@dataclass(frozen=True)
class Entry:
    """One mask; `data_digest` is that of the data set that it was tried on, empty if that is not known."""

    network: str
    input: tuple[int, ...]
    classes: int
    sparsity: float
    accuracy: float
    channels: dict[str, str]
    data_digest: str = ""

    @property
    def place(self) -> tuple[Any, ...]:
        """What entries compete with each other for."""
        return self.network, self.input, self.classes, self.data_digest, round(self.sparsity, 3)

    def kept(self, spec: ModelSpec) -> Kept:
        """Returns the mask for a model.

        Raises:
            InputError: It is for another one.
        """
        expected = {tied.name: tied.channels for tied in spec.channels[:-1]}
        received = {name: len(bits) for name, bits in self.channels.items()}
        if received != expected:
            raise InputError(f"A mask for {received} does not fit {spec.name!r}, which has {expected}.")
        return [np.array([bit == "1" for bit in self.channels[name]]) for name in expected]


def entry(spec: ModelSpec, kept: Kept, accuracy: float, data_digest: str) -> Entry:
    """Returns the entry of a mask that was tried on a data set."""
    sparsity = 1.0 - sum(int(k.sum()) for k in kept) / sum(k.size for k in kept)
    bits = {tied.name: "".join("01"[int(b)] for b in k) for tied, k in zip(spec.channels, kept, strict=False)}
    return Entry(spec.name, spec.input_shape, spec.classes, round(sparsity, 6), round(accuracy, 6), bits, data_digest)


class Archive:
    """A file of masks; of each network, data set and sparsity only the best are retained.

    Args:
        path: Need not exist yet.
        retained: How many of each network, data set and sparsity.

    Raises:
        InputError: The file is something else, or damaged; names the line.
    """

    def __init__(self, path: Path, retained: int = 3) -> None:
        self._path = path
        self._retained = retained
        self.entries: list[Entry] = _read(path) if path.exists() else []

    def add(self, new: Entry) -> bool:
        """Takes an entry in if it is among the best of its kind, has the file on disk, and says whether it is."""
        if new in self.entries:
            return True
        same = sorted((e for e in self.entries if e.place == new.place), key=lambda e: -e.accuracy)
        if len(same) >= self._retained and new.accuracy <= same[self._retained - 1].accuracy:
            return False
        dropped = same[self._retained - 1 :]
        remaining = [e for e in self.entries if e not in dropped]
        self.entries = sorted([*remaining, new], key=lambda e: (*e.place, -e.accuracy, *e.channels.values()))
        lines = [FORMAT, *(json.dumps(asdict(e), sort_keys=True) for e in self.entries)]
        write_text(self._path, "\n".join(lines) + "\n")
        return True

    def best(self, spec: ModelSpec, sparsity: float, data_digest: str) -> Entry | None:
        """Returns the mask of a network that did best at a sparsity (to a hundredth) on a data set, or None."""
        wanted = (spec.name, spec.input_shape, spec.classes, data_digest)
        fitting = [e for e in self.entries if e.place[:4] == wanted and abs(e.sparsity - sparsity) <= 0.01]
        return max(fitting, key=lambda e: e.accuracy, default=None)


def _read(path: Path) -> list[Entry]:
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    except (OSError, UnicodeDecodeError):
        first, lines = "", []
    if first != FORMAT:
        raise InputError(f"{path}: is no archive of masks; expected {FORMAT!r} in its first line.")
    return [_entry(line, f"{path}: line {number}") for number, line in enumerate(lines, 2)]


def _entry(line: str, where: str) -> Entry:
    try:
        table = json.loads(line)
        loaded = Entry(**{**table, "input": tuple(table["input"])})
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{where}: expected a mask as JSON, received {line[:60]!r} ({error}).") from None
    numbers: Sequence[Any] = (loaded.sparsity, loaded.accuracy)
    bits = isinstance(loaded.channels, dict) and all(
        isinstance(b, str) and not b.strip("01") for b in loaded.channels.values()
    )
    if not isinstance(loaded.data_digest, str):
        raise InputError(f"{where}: expected a string for data_digest, received {loaded.data_digest!r}.")
    if not bits or not all(isinstance(n, int | float) and 0 <= n <= 1 for n in numbers):
        raise InputError(f"{where}: expected strings of 0 and 1 for channels, and fractions for sparsity and accuracy.")
    return loaded

"""The archive of tried masks: networks with what is known of their channels, and how well masks of them retrained.

A text file that only grows. Its first line says what it is and under which budget everything in it was trained; each
other one is a network with all of its masks, a JSON object:

    {"budget": "9f2c..."  , "format": "fedcompress mask trials, version 1"}
    {"chance": 0.1, "data": "digits", "dense": 0.97, "features": [[...], ...], "layers": ["conv2d", ...],
     "model": "lenet5", "seed": 1, "trials": [...], "tried": "41d0...", "widths": [6, ...]}

`features` has a row for each channel, see `fedcompress.masks.features`. A trial is [criterion, sparsity asked, mask,
accuracy before retraining, accuracy after it]; a mask has a "1" for each channel that stays, layers divided by dots.
Accuracies are on validation examples. `tried` is the digest of the recipe's `[trying]`; lines of earlier versions have
none. A last line that was cut off as it was written is left out, and written anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import InputError
from fedcompress.files import read_text, write_text
from fedcompress.masks.features import FEATURES, Described
from fedcompress.recipes.masks.settings import Source

FORMAT = "fedcompress mask trials, version 1"
STUCK = 0.2
"""A retrained network is stuck that has at most this part of what the dense one has above chance."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One mask and how it did.

    Attributes:
        criterion: What chose it.
        sparsity: That was asked for, of the channels.
        mask: (channels,).
        before: Accuracy without retraining.
        accuracy: After it.
    """

    criterion: str
    sparsity: float
    mask: NDArray[np.bool_]
    before: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network and its masks.

    Attributes:
        source: What it is.
        layers: Names of those with channels, without the head.
        described: Its channels.
        dense: Its accuracy.
        chance: One over the number of classes.
        trials: Its masks, each once.
        tried: Digest of the settings by which they were tried, `MaskRecipe.tried`; empty if unknown.
    """

    source: Source
    layers: tuple[str, ...]
    described: Described
    dense: float
    chance: float
    trials: tuple[Trial, ...]
    tried: str = ""

    def is_stuck(self, accuracy: float) -> bool:
        """Says whether retraining has led to next to nothing."""
        return accuracy - self.chance <= STUCK * (self.dense - self.chance)

    def line(self) -> str:
        """Returns it as a line of the file."""
        table = {
            **self.source._asdict(),
            "layers": self.layers,
            "widths": self.described.widths,
            "features": [[round(float(v), 5) for v in row] for row in self.described.features],
            "dense": round(self.dense, 6),
            "chance": round(self.chance, 6),
            "trials": [
                [t.criterion, t.sparsity, as_text(t.mask, self.described), round(t.before, 6), round(t.accuracy, 6)]
                for t in self.trials
            ],
            "tried": self.tried,
        }
        return json.dumps(table, sort_keys=True)


def as_text(mask: NDArray[np.bool_], described: Described) -> str:
    """Returns a mask as ones and zeros, layers divided by dots."""
    return ".".join("".join("01"[int(bit)] for bit in of_layer) for of_layer in described.kept(mask))


class Trials:
    """An archive on disk.

    Args:
        path: Need not exist yet if a budget is given.
        budget: Under which networks are to be added; None to read only.

    Raises:
        InputError: The file is absent, something else, damaged, or of another budget; names the line.
    """

    def __init__(self, path: Path, budget: str | None = None) -> None:
        self._path = path
        if budget is not None and not path.exists():
            write_text(path, json.dumps({"budget": budget, "format": FORMAT}, sort_keys=True) + "\n")
        self.networks = self._read(budget)

    def _read(self, budget: str | None) -> list[Network]:
        path = self._path
        try:
            text = read_text(path)
            first, *lines = text.splitlines(keepends=True)
            header = json.loads(first)
            known = header["format"] == FORMAT
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such archive; make one with: fedcompress masks collect.") from None
        except (OSError, ValueError, KeyError, TypeError):
            known, header, lines = False, {}, []
        if not known:
            raise InputError(f"{path}: is no archive of tried masks; expected {FORMAT!r} in its first line.")
        if budget is not None and header.get("budget") != budget:
            raise InputError(
                f"{path}: was collected with other data, training or retraining than the recipe has, so that its masks "
                "are not comparable; name a new archive with --out."
            )
        whole = [line for line in lines if line.endswith("\n")]
        if budget is not None and len(whole) < len(lines):
            write_text(path, "".join([first, *whole]))
        return [_network(line, f"{path}: line {number}") for number, line in enumerate(whole, 2)]

    @property
    def sources(self) -> set[Source]:
        """What is in the archive."""
        return {network.source for network in self.networks}

    def add(self, network: Network) -> None:
        """Writes a network at the end of the file."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(network.line() + "\n")
        self.networks.append(network)


def _network(line: str, where: str) -> Network:
    try:
        table = json.loads(line)
        features = np.array(table["features"], np.float32)
        described = Described(tuple(table["widths"]), features)
        if features.shape != (sum(described.widths), len(FEATURES)) or not np.isfinite(features).all():
            raise ValueError(f"features of shape {features.shape}")
        trials = tuple(_trial(trial, described.widths) for trial in table["trials"])
        source = Source(str(table["model"]), str(table["data"]), int(table["seed"]))
        layers, dense, chance = tuple(table["layers"]), float(table["dense"]), float(table["chance"])
        return Network(source, layers, described, dense, chance, trials, str(table.get("tried", "")))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{where}: expected a network as JSON, received {line[:60]!r} ({error}).") from None


def _trial(trial: Sequence[Any], widths: tuple[int, ...]) -> Trial:
    criterion, sparsity, text, before, accuracy = trial
    if tuple(map(len, text.split("."))) != widths or text.strip("01.") or not 0 <= accuracy <= 1:
        raise ValueError("a mask that does not fit the layers, or an accuracy beyond 1")
    mask = np.array([bit == "1" for bit in text.replace(".", "")])
    return Trial(str(criterion), float(sparsity), mask, float(before), float(accuracy))

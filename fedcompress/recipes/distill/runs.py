"""What a comparison of distillation methods has trained, in memory or on disk."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fedcompress.errors import InputError
from fedcompress.files import part_name, read_text
from fedcompress.recipes.distill.settings import DistillSettings
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.provenance import installed
from fedcompress.wire.content import Arrays

RUNS, WEIGHTS = "models.jsonl", "teacher.npz"
"""Files of `Kept`: a row for each model, and the teacher whose students are being trained."""
PACKAGES = ("fedcompress", "tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy")
"""That a comparison names the versions of."""
TEACHER = "teacher"
"""Stands for the teacher where runs are told apart by method."""


@dataclass(frozen=True)
class Run:
    """One model, trained.

    Attributes:
        method: One of `METHODS`, or `TEACHER`.
        seed: Of data split, initial weights and order of examples, which all methods share.
        parameters: Number of weights that inference needs, projector and reused head included.
        sparsity: Fraction of zeros among the weights of all kernels.
        validation: Accuracy on the examples held out; NaN if there are none.
        test: Accuracy on the test set.
        seconds: Of training, validation after each epoch included; the teacher's own is not part of its students'.
    """

    method: str
    seed: int
    parameters: int
    sparsity: float
    validation: float
    test: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """What `distill` returns.

    Attributes:
        settings: What it was made with.
        data_digest: SHA-256 of the data set.
        versions: Of the packages that it began with.
        runs: By seed; of each the teacher, then the students.
    """

    settings: DistillSettings
    data_digest: str
    versions: Mapping[str, str | None]
    runs: tuple[Run, ...]

    def of(self, method: str) -> list[Run]:
        """Returns the runs of a method, by seed."""
        return [run for run in self.runs if run.method == method]


class Kept:
    """The models that are trained so far: of a directory, from where a comparison that was killed goes on.

    Args:
        directory: Gets a row for each model, and the weights of the latest teacher; None keeps them in memory.
        versions: Of the packages that the comparison began with; by default those that are installed.

    Raises:
        InputError: What it holds cannot be read.
    """

    def __init__(self, directory: RunDirectory | None = None, versions: Mapping[str, Any] | None = None) -> None:
        self.versions = {name: versions.get(name) if versions else installed(name) for name in PACKAGES}
        self._directory = directory
        self._runs = {(run.method, run.seed): run for run in self._read()}
        self._teacher: tuple[int, Arrays] | None = None

    def has(self, method: str, seed: int) -> bool:
        """Says whether a model is trained."""
        return (method, seed) in self._runs

    def of(self, method: str, seed: int) -> Run:
        """Returns a model that is trained."""
        return self._runs[method, seed]

    def teacher(self, seed: int) -> Arrays | None:
        """Returns the teacher's weights, or None if it has to be trained, once more perhaps."""
        if self._teacher is None and self._directory is not None and (self._directory.path / WEIGHTS).exists():
            try:
                with np.load(self._directory.path / WEIGHTS) as file:
                    arrays = [file[name] for name in file.files]
                self._teacher = int(arrays[0]), arrays[1:]
            except (OSError, ValueError, TypeError, AttributeError, IndexError, EOFError, BadZipFile, zlib.error):
                return None
        return self._teacher[1] if self._teacher is not None and self._teacher[0] == seed else None

    def add(self, run: Run, weights: Arrays) -> None:
        """Takes in a model that was just trained; of a teacher, the weights as well, which are written first."""
        if run.method == TEACHER:
            self._teacher = run.seed, weights
        if self._directory is not None:
            if run.method == TEACHER:
                path = self._directory.path / WEIGHTS
                packed = io.BytesIO()
                np.savez(packed, np.int64(run.seed), *weights)
                path.with_name(part_name(WEIGHTS)).write_bytes(packed.getvalue())
                path.with_name(part_name(WEIGHTS)).replace(path)
            if not self.has(run.method, run.seed):
                self._directory.append(RUNS.removesuffix(".jsonl"), [asdict(run)])
        self._runs.setdefault((run.method, run.seed), run)

    def _read(self) -> list[Run]:
        path = None if self._directory is None else self._directory.path / RUNS
        if path is None or not path.exists():
            return []
        try:
            *lines, cut = read_text(path).split("\n")
            if cut and self._directory is not None:  # by a kill; the next row must not follow it in its line
                self._directory.write_text(RUNS, "".join(f"{line}\n" for line in lines))
            return [_run(json.loads(line)) for line in lines]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read ({error}); expected what distill wrote there.") from None


def _run(row: Any) -> Run:
    """Returns what a row says; JSON has no NaN, which only an accuracy on no examples is."""
    if not isinstance(row, dict):
        raise TypeError(f"a row is {type(row).__name__}")
    values = {field.name: row[field.name] for field in fields(Run)}
    values["validation"] = float("nan") if values["validation"] is None else values["validation"]
    for name, value in values.items():
        if not isinstance(value, str if name == "method" else int | float):
            raise TypeError(f"{name} is {value!r}")
    return Run(**values)

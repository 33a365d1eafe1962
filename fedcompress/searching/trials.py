"""The trials of a search, and the file that holds them: all that a search which was killed goes on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from fedcompress.errors import InputError
from fedcompress.results.run.directory import RunDirectory, as_csv

FILE, TABLE = "search.json", "trials.csv"


@dataclass(frozen=True)
class Trial:
    """Settings that are tried.

    Attributes:
        number: From 1.
        params: Dotted key -> value.
        state: A trial that failed is one that has no accuracy: of a run that diverged, say.
        accuracies: Seed -> accuracy on validation data.
        problem: Why it failed.
    """

    number: int
    params: Mapping[str, Any]
    state: Literal["running", "completed", "failed"] = "running"
    accuracies: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def accuracy(self) -> float | None:
        """Mean over seeds, of a trial that is completed."""
        return mean(self.accuracies.values()) if self.state == "completed" else None

    @property
    def settings(self) -> str:
        """Its settings as a person reads them."""
        return ", ".join(f"{key}={_shown(value)}" for key, value in self.params.items())


def read(path: Path) -> list[Trial]:
    """Returns the trials of a search so far.

    Raises:
        InputError: The file is damaged.
    """
    if not (path / FILE).exists():
        return []
    table = RunDirectory(path).read_json(FILE)
    try:
        return [Trial(**row) for row in table["trials"]]
    except (KeyError, TypeError):
        raise InputError(f"{path / FILE}: lacks trials; expected what a search writes there.") from None


def write(path: Path, trials: Sequence[Trial]) -> None:
    """Writes the trials, each file in one step: as JSON, and a row for each as CSV."""
    directory = RunDirectory(path)
    directory.write_json(FILE, {"trials": [asdict(trial) for trial in trials]})
    rows = [
        {"trial": t.number, **t.params, "state": t.state, "validation_accuracy": t.accuracy, "problem": t.problem}
        for t in trials
    ]
    directory.write_text(TABLE, as_csv(rows, rows[0]))


def best(trials: Sequence[Trial]) -> Trial | None:
    """Returns the trial of the highest accuracy, of equal ones the first; None if none is completed."""
    completed = [trial for trial in trials if trial.accuracy is not None]
    return max(completed, key=lambda trial: (trial.accuracy or 0.0, -trial.number), default=None)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""Ending a run before its last round: a function of the rows on disk alone, so that a resumed run ends where it should.

Accuracy is that on validation data of what the run is judged by, or of what `[stop] by` names: the server's examples
for global models and what devices run, each client's own for own and personal models. The test set ends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from fedcompress.judged import JUDGED, JudgedName
from fedcompress.rows import RoundRow
from fedcompress.scenario.sections import StopSettings

if TYPE_CHECKING:
    from fedcompress.experiment import Experiment

Rows = Sequence[RoundRow]


@dataclass(frozen=True)
class Stopped:
    """Why a run ended early.

    Attributes:
        because: The key of `[stop]` that held.
        detail: The same as a sentence.
    """

    because: str
    detail: str


class Stopping:
    """The `[stop]` of a run.

    Args:
        settings: None for a run that ends with its last round.
        ready: First round in which every group is at its full sparsity, from which on accuracy counts.
        by: Whose accuracy; default: as the settings say, and global if they do not.
    """

    def __init__(self, settings: StopSettings | None, ready: int = 1, by: JudgedName | None = None) -> None:
        self._settings, self._ready = settings, ready
        by = by or (settings and settings.by) or "global"
        self._column = JUDGED[by].validation
        self._tested = JUDGED["own" if by == "own" else "global"].figure
        """What only clients can test: a run ends after a round in which they have."""
        self._rounds = "rounds" if by == "global" else "tested rounds"
        self._figure = self._column.replace("_", " ")

    @classmethod
    def of(cls, experiment: Experiment) -> Stopping:
        """Returns that of an experiment."""
        rounds, compressions = experiment.scenario.rounds, [g.compression for g in experiment.groups.values()]
        short = [n for n in range(1, rounds) if any(c.target(n) != c.target(rounds) for c in compressions)]
        return cls(experiment.scenario.stop, max(short, default=0) + 1, experiment.scenario.stops_by)

    def after(self, rows: Rows) -> Stopped | None:
        """Says why the run ends after the rounds of `rounds.jsonl` so far; None if it goes on.

        It never ends after a round whose models were not tested (`[evaluation] own_every`).
        """
        if self._settings is None or not rows or not isfinite(_number(rows[-1].get(self._tested))):
            return None
        return self._accuracy(rows) or self._budget(rows)

    def _accuracy(self, rows: Rows) -> Stopped | None:
        assert self._settings is not None
        settings, best, waited, reached = self._settings, float("-inf"), 0, nan
        for row in rows:
            reached = _number(row.get(self._column))
            if row["round"] < self._ready or not isfinite(reached):
                continue
            waited += 1
            if reached > best + settings.min_delta:
                best, waited = reached, 0
        if settings.target is not None and rows[-1]["round"] >= self._ready and reached >= settings.target:
            detail = f"{self._figure} {reached:.4f} has reached the target of {settings.target:g}"
            return Stopped("target", detail)
        if settings.patience is not None and waited >= settings.patience:
            gain = f"no gain of more than {settings.min_delta:g} in {self._figure}"
            return Stopped("patience", f"{gain} for {waited} {self._rounds}, after {best:.4f}")
        return None

    def _budget(self, rows: Rows) -> Stopped | None:
        assert self._settings is not None
        spent = {
            "bytes": sum(row["uplink_bytes"] + row["downlink_bytes"] for row in rows),
            "seconds": sum(row["seconds"] for row in rows),
            "modelled_seconds": sum(row.get("modelled_seconds", 0.0) for row in rows),
        }
        for key, amount in spent.items():
            limit = getattr(self._settings, key)
            if limit is not None and amount >= limit:
                what = key.replace("_", " ")
                return Stopped(key, f"{amount:,.0f} {what} are spent, of a budget of {limit:,.0f}")
        return None


def _number(value: Any) -> float:
    """A figure of a row, NaN where there is none: on disk that is null."""
    return nan if value is None else float(value)

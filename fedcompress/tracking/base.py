"""Interface of a tracker: one file per tracker, which imports its library when it is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcompress.scenario.sections import TrackingSettings

Scalars = Mapping[str, float]
"""`group/name` -> value; trackers show names of one group together."""


@dataclass(frozen=True)
class Tracked:
    """The run that is tracked.

    Attributes:
        name: Of its directory.
        scenario: Name of its scenario.
        key: The same whenever the run goes on, and of no other run.
        config: The resolved scenario, as dotted keys and plain values.
        folder: Where a tracker may write, `RUN/tracking`.
    """

    name: str
    scenario: str
    key: str
    config: Mapping[str, Any]
    folder: Path


class Tracker(ABC):
    """One tracker of one run.

    Args:
        settings: `[tracking]`.
        run: The run.
        first_round: From which on scalars will come: 1, or where a resumed run goes on.
    """

    @abstractmethod
    def __init__(self, settings: TrackingSettings, run: Tracked, first_round: int) -> None: ...

    @abstractmethod
    def log(self, round_number: int, scalars: Scalars) -> None:
        """Writes the scalars of a round."""

    @abstractmethod
    def close(self, summary: Scalars, *, completed: bool) -> None:
        """Writes what the run ended with, and lets go of everything."""

"""The runs of a sweep, how they end, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedcompress.checks import resolved
from fedcompress.plugins import Plugins
from fedcompress.results.run.directory import RunDirectory, file_names
from fedcompress.rows import Summary
from fedcompress.scenario import Scenario


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: From 1, in the order of the sweep.
        of: Runs of the sweep.
        label: "VARIANT seed SEED".
        scenario: Without sweep.
        path: Its run directory.
        settings: What its variant sets, by dotted keys.
    """

    number: int
    of: int
    label: str
    scenario: Scenario
    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """Name of the variant."""
        return variant_of(self.label)

    @property
    def finished(self) -> Summary | None:
        """The summary of a run that is completed."""
        directory = RunDirectory(self.path)
        return directory.summary if directory.status == "completed" else None

    def other_runs(self, plugins: Plugins) -> Iterable[str]:
        """Says why what is in the run directory is not this run, as far as it has got."""
        directory = RunDirectory(self.path)
        if not directory.begun:
            return
        on_disk = directory.read_json("provenance.json").get("scenario_digest")
        expected = resolved(self.scenario, plugins).digest
        if on_disk != expected:
            yield (
                f"{self.path}: holds a run of another scenario (digest {str(on_disk)[:12]}) than the sweep's "
                f"{self.label!r} (digest {expected[:12]}); put the sweep's scenario.toml back as it was, or start "
                "a new sweep."
            )
        elif Scenario.load(self.path / "scenario.toml").digest != on_disk:
            yield f"{self.path}: scenario.toml changed since the run began; put it back, or start a new sweep."


@dataclass(frozen=True)
class Outcome:
    """How a run of a sweep ended: with a summary, or with the reason why it failed."""

    job: Job
    summary: Summary | None
    problem: str = ""


Runner = Callable[[Sequence[Job]], Iterator[Outcome]]
"""Carries out runs, one after the other or side by side, and yields how each ended; none of them ends the rest."""


class Watcher:
    """Watches a sweep; this one does nothing, the command line's progress display is another."""

    def begun(self, total: int, finished: int) -> None:
        """The sweep has that many runs, of which some are finished already."""

    def ended(self, outcome: Outcome) -> None:
        """A run is over."""


def jobs_of(scenario: Scenario, path: Path) -> list[Job]:
    """Returns all runs of a sweep in `path`: variants outer, seeds inner."""
    runs = scenario.runs()
    folders = file_names(label for label, _ in runs)
    sets = {variant.name: variant.set for variant in scenario.sweep.variants} if scenario.sweep else {}
    return [
        Job(number, len(runs), label, single, path / folders[label], sets.get(variant_of(label), {}))
        for number, (label, single) in enumerate(runs, 1)
    ]


def variant_of(label: str) -> str:
    """Returns the name of the variant in "VARIANT seed SEED"."""
    return label.rpartition(" seed ")[0]

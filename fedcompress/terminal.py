"""What a run looks like on a terminal: live progress, a closing table per group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from fedcompress.devices import ABOUT
from fedcompress.experiment import Experiment
from fedcompress.fitted_table import FittedTable
from fedcompress.progress import ProgressLine
from fedcompress.results.run.recorder import Observer
from fedcompress.rows import RoundRow, Summary
from fedcompress.sweep.jobs import Outcome, Watcher
from fedcompress.units import number, size


class ProgressDisplay(ProgressLine, Observer):
    """An observer: a live line on a terminal or in a notebook, a line per round elsewhere.

    Args:
        label: What runs, for example the name of the scenario or of a sweep's run.
    """

    def __init__(self, label: str) -> None:
        super().__init__(label, "rounds")
        self._up = self._down = 0

    def started(self, experiment: Experiment, before: Sequence[RoundRow]) -> None:
        """Shows how many rounds there are; bytes go on from those of the rounds before."""
        total = experiment.scenario.rounds
        self._up = sum(row["uplink_bytes"] for row in before)
        self._down = sum(row["downlink_bytes"] for row in before)
        self.begin(total, len(before), ["training"])
        earlier = f", {len(before)} of them done before" if before else ""
        self.note(f"{self._label}: {total} rounds{earlier}, {len(experiment.clients)} clients")
        for warning in experiment.warnings:
            self.say(f"warning: {warning}")

    def round_done(self, row: RoundRow) -> None:
        """Shows a finished round."""
        self._up += row["uplink_bytes"]
        self._down += row["downlink_bytes"]
        failed = f", {row['failures']} failed" if row["failures"] else ""
        status = [f"accuracy {number(row['accuracy'])}{failed}", f"up {size(self._up)}", f"down {size(self._down)}"]
        self.update(row["round"], status)
        for event in row.get("events", ()):
            self.say(f"round {row['round']}: {event}")
        self.note(f"round {row['round']}/{self._total}: {', '.join(status)}, {row['seconds']:.1f} s, left {self.left}")


class SweepDisplay(ProgressLine, Watcher):
    """A watcher: a line after each run, and a live one on a terminal if runs go side by side.

    Args:
        side_by_side: Whether runs are carried out at the same time, and so have no displays of their own.
    """

    def __init__(self, side_by_side: bool = False) -> None:
        super().__init__("sweep", "runs", compiles=False)
        self._side_by_side = side_by_side
        self._failed = 0

    def __enter__(self) -> Self:
        return super().__enter__() if self._side_by_side else self

    def __exit__(self, *how: Any) -> None:
        if self._side_by_side:
            super().__exit__(*how)

    def begun(self, total: int, finished: int) -> None:
        """Says how many runs there are."""
        self.say(f"sweep of {total} runs" + (f", {finished} of them finished before" if finished else ""))
        self.begin(total, finished)

    def ended(self, outcome: Outcome) -> None:
        """Says how a run ended, and for how long the others will take: as long as those so far, on average."""
        summary = outcome.summary
        self._failed += summary is None
        how = f"failed: {outcome.problem}" if summary is None else f"accuracy {number(summary['accuracy'])}"
        if summary is not None and summary.get("stopped"):
            how += f" after {summary['rounds']} rounds, stopped early"
        failed = [f"{self._failed} failed"] if self._failed else []
        self.update(self._done + 1, failed)
        so_far = ", ".join([f"{self._done} of {self._total} runs done", *failed])
        self.say(f"{outcome.job.label}: {how}; {so_far}, left {self.left}")


def summary_table(summary: Summary) -> FittedTable:
    """Returns the closing table of a run, a row per group."""
    saved = summary["dense_uplink_bytes"] / summary["uplink_bytes"] if summary["uplink_bytes"] else float("nan")
    title = (
        f"{summary['scenario']}, seed {summary['seed']}: accuracy {number(summary['accuracy'])} "
        f"(best on validation {number(summary['best_accuracy'])}) "
        f"after {summary['rounds']} rounds, {summary['seconds']:.1f} s"
    )
    clients = summary["clients"]
    caption = (
        f"up {size(summary['uplink_bytes'])} ({compared_with_dense(saved)}), "
        f"down {size(summary['downlink_bytes'])}; each client on its own distribution: "
        f"mean {number(clients.get('mean'))}, worst tenth {number(clients.get('worst10'))}"
    )
    if stopped := summary.get("stopped"):
        caption += f"\nstopped early: {stopped['detail']}"
    if modelled := summary.get("modelled"):
        caption += f"\non the groups' devices {modelled['seconds']:,.1f} s and {modelled['joules']:,.1f} J, {ABOUT}"
    columns = ("group", "clients", "accuracy", "deployed", "sparsity", "upload", "of dense", "deflated")
    rows = [
        (
            name,
            str(group["clients"]),
            number(group["accuracy"]),
            number(group.get("deployed_accuracy")),
            number(group["sparsity"], 3),
            size(group["upload_bytes"]),
            _percent(group["upload_bytes"], group["dense_upload_bytes"]),
            size(group["compressed_bytes"]),
        )
        for name, group in summary["groups"].items()
    ]
    return FittedTable(title, columns, rows, caption)


def _percent(part: float | None, whole: float | None) -> str:
    return "-" if part is None or not whole else f"{part / whole:.1%}"


def compared_with_dense(saved: float) -> str:
    """Returns what dense float32 would have cost as a multiple of what was sent, or the other way round."""
    return f"{1 / saved:.1f} times as much as dense" if 0 < saved < 1 else f"{saved:.1f} times less than dense"

"""What a run looks like on a terminal: live progress, a closing table per group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fedcompress.devices import ABOUT
from fedcompress.experiment import Experiment
from fedcompress.fitted_table import FittedTable
from fedcompress.progress import ProgressLine
from fedcompress.sweep.jobs import Outcome
from fedcompress.units import number, size

Row = Mapping[str, Any]


class ProgressDisplay:
    """An observer: a live line on a terminal or in a notebook, a line per round elsewhere.

    Args:
        label: What runs, for example the name of the scenario or of a sweep's run.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._line = ProgressLine(label, "rounds")
        self._up = self._down = self._total = 0

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.__exit__(kind, error, trace)

    def started(self, experiment: Experiment, before: Sequence[Row]) -> None:
        """Shows how many rounds there are; bytes go on from those of the rounds before."""
        self._total = experiment.scenario.rounds
        self._up, self._down = (sum(row[f"{way}_bytes"] for row in before) for way in ("uplink", "downlink"))
        self._line.begin(self._total, len(before), ["training"])
        if not self._line.live:
            earlier = f", {len(before)} of them done before" if before else ""
            self._line.say(f"{self._label}: {self._total} rounds{earlier}, {len(experiment.clients)} clients")
        for warning in experiment.warnings:
            self._line.say(f"warning: {warning}")

    def round_done(self, row: Row) -> None:
        """Shows a finished round."""
        self._up += row["uplink_bytes"]
        self._down += row["downlink_bytes"]
        failed = f", {row['failures']} failed" if row["failures"] else ""
        status = [f"accuracy {number(row['accuracy'])}{failed}", f"up {size(self._up)}", f"down {size(self._down)}"]
        self._line.update(row["round"], status)
        for event in row.get("events", ()):
            self._line.say(f"round {row['round']}: {event}")
        if not self._line.live:
            took = f"{row['seconds']:.1f} s, left {self._line.left}"
            self._line.say(f"round {row['round']}/{self._total}: {', '.join(status)}, {took}")


class SweepDisplay:
    """A watcher: a line after each run, and a live one on a terminal if runs go side by side.

    Args:
        side_by_side: Whether runs are carried out at the same time, and so have no displays of their own.
    """

    def __init__(self, side_by_side: bool = False) -> None:
        self._line = ProgressLine("sweep", "runs", compiles=False)
        self._side_by_side = side_by_side
        self._total = self._done = self._failed = 0

    def __enter__(self) -> Self:
        if self._side_by_side:
            self._line.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._side_by_side:
            self._line.__exit__(kind, error, trace)

    def begun(self, total: int, finished: int) -> None:
        """Says how many runs there are."""
        self._total, self._done = total, finished
        before = f", {finished} of them finished before" if finished else ""
        self._line.say(f"sweep of {total} runs{before}")
        self._line.begin(total, finished)

    def ended(self, outcome: Outcome) -> None:
        """Says how a run ended, and for how long the others will take: as long as those so far, on average."""
        self._done += 1
        self._failed += outcome.summary is None
        how = (
            f"failed: {outcome.problem}"
            if outcome.summary is None
            else f"accuracy {number(outcome.summary['accuracy'])}"
        )
        if outcome.summary is not None and outcome.summary.get("stopped"):
            how += f" after {outcome.summary['rounds']} rounds, stopped early"
        failed = [f"{self._failed} failed"] if self._failed else []
        self._line.update(self._done, failed)
        so_far = ", ".join([f"{self._done} of {self._total} runs done", *failed])
        self._line.say(f"{outcome.job.label}: {how}; {so_far}, left {self._line.left}")


def summary_table(summary: Row) -> FittedTable:
    """Returns the closing table of a run, a row per group."""
    saved = summary["dense_uplink_bytes"] / summary["uplink_bytes"] if summary["uplink_bytes"] else float("nan")
    title = (
        f"{summary['scenario']}, seed {summary['seed']}: accuracy {number(summary['accuracy'])} "
        f"(best {number(summary['best_accuracy'])}) after {summary['rounds']} rounds, {summary['seconds']:.1f} s"
    )
    own = summary["clients"]
    caption = (
        f"up {size(summary['uplink_bytes'])} ({saved:.1f} times less than dense), "
        f"down {size(summary['downlink_bytes'])}; each client on its own distribution: "
        f"mean {number(own.get('mean'))}, worst tenth {number(own.get('worst10'))}"
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

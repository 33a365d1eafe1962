"""What a run looks like on a terminal: live progress, a closing table per group."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fedcompress.devices import ABOUT
from fedcompress.experiment import Experiment
from fedcompress.sweep import Outcome
from fedcompress.units import duration, number, size

Row = Mapping[str, Any]


class ProgressDisplay:
    """An observer: a live bar on a terminal, a line per round elsewhere; always on standard error.

    Args:
        label: What runs, for example the name of the scenario or of a sweep's run.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._console = Console(stderr=True, highlight=False)
        self._up = self._down = 0
        self._total = 0
        self._started = time.perf_counter()
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("rounds"),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=False,
        )
        self._task = self._progress.add_task(label, total=None, status="starting")

    def __enter__(self) -> ProgressDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, experiment: Experiment, first_round: int) -> None:
        """Shows how many rounds there are."""
        self._total = experiment.scenario.rounds
        self._progress.update(self._task, total=self._total, completed=first_round - 1, status="training")
        if not self._console.is_terminal:
            self._console.print(f"{self._label}: {self._total} rounds, {len(experiment.clients)} clients")
        for warning in experiment.warnings:
            self._console.print(f"[yellow]warning:[/yellow] {warning}")

    def round_done(self, row: Row) -> None:
        """Shows a finished round."""
        self._up += row["uplink_bytes"]
        self._down += row["downlink_bytes"]
        failed = f", {row['failures']} failed" if row["failures"] else ""
        status = f"accuracy {number(row['accuracy'])}, up {size(self._up)}, down {size(self._down)}{failed}"
        self._progress.update(self._task, completed=row["round"], status=status)
        for event in row.get("events", ()):
            self._console.print(f"round {row['round']}: {escape(event)}")
        if not self._console.is_terminal:
            left = (time.perf_counter() - self._started) / row["round"] * (self._total - row["round"])
            self._console.print(
                f"round {row['round']}/{self._total}: {status}, {row['seconds']:.1f} s, left {left:.0f} s"
            )


class SweepDisplay:
    """A watcher: a line after each run, on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._started = time.perf_counter()
        self._total = self._done = self._here = self._failed = 0

    def begun(self, total: int, finished: int) -> None:
        """Says how many runs there are."""
        self._total, self._done = total, finished
        before = f", {finished} of them finished before" if finished else ""
        self._console.print(f"sweep of {total} runs{before}")

    def ended(self, outcome: Outcome) -> None:
        """Says how a run ended, and for how long the others will take: as long as those so far, on average."""
        self._done, self._here = self._done + 1, self._here + 1
        self._failed += outcome.summary is None
        how = (
            f"failed: {outcome.problem}"
            if outcome.summary is None
            else f"accuracy {number(outcome.summary['accuracy'])}"
        )
        if outcome.summary is not None and outcome.summary.get("stopped"):
            how += f" after {outcome.summary['rounds']} rounds, stopped early"
        left = (time.perf_counter() - self._started) / self._here * (self._total - self._done)
        failed = f", {self._failed} failed" if self._failed else ""
        self._console.print(
            f"{escape(outcome.job.label)}: {escape(how)}; "
            f"{self._done} of {self._total} runs done{failed}, left {duration(left)}"
        )


def summary_table(summary: Row) -> Table:
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
    table = _table(title, caption)
    table.add_column("group", overflow="fold")
    for column in ("clients", "accuracy", "deployed", "sparsity", "upload", "of dense", "deflated"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, group in summary["groups"].items():
        table.add_row(
            name,
            str(group["clients"]),
            number(group["accuracy"]),
            number(group.get("deployed_accuracy")),
            number(group["sparsity"], 3),
            size(group["upload_bytes"]),
            _percent(group["upload_bytes"], group["dense_upload_bytes"]),
            size(group["compressed_bytes"]),
        )
    return table


def _percent(part: float | None, whole: float | None) -> str:
    return "-" if part is None or not whole else f"{part / whole:.1%}"


def _table(title: str, caption: str | None = None) -> Table:
    style: Any = {"title_justify": "left", "caption_justify": "left", "box": box.SIMPLE_HEAD, "pad_edge": False}
    return Table(title=title, caption=caption, collapse_padding=True, **style)

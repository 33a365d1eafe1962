"""What a comparison of distillation methods looks like: a table, files, progress."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from fedcompress.distillation.distill import TEACHER, Comparison, Run
from fedcompress.results.provenance import installed
from fedcompress.results.run_directory import RunDirectory
from fedcompress.results.statistics import Interval

_PACKAGES = ("fedcompress", "tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy")


def summary(comparison: Comparison) -> dict[str, Any]:
    """Returns everything that was found, as JSON has it; accuracies are fractions."""
    methods = [_row(comparison, method) for method in (TEACHER, *comparison.settings.methods)]
    return {
        "settings": asdict(comparison.settings),
        "data_digest": comparison.data_digest,
        "versions": {name: installed(name) for name in _PACKAGES},
        "methods": methods,
        "runs": [asdict(run) for run in comparison.runs],
    }


def _row(comparison: Comparison, method: str) -> dict[str, Any]:
    runs = comparison.of(method)
    difference = _difference(runs, comparison.of("plain")) if method not in (TEACHER, "plain") else None
    return {
        "method": method,
        "parameters": runs[0].parameters,
        "sparsity": mean(run.sparsity for run in runs),
        "validation": asdict(Interval.of([run.validation for run in runs])),
        "test": asdict(Interval.of([run.test for run in runs])),
        "difference_to_plain": asdict(difference) if difference else None,
        "seconds": mean(run.seconds for run in runs),
    }


def _difference(runs: Sequence[Run], plain: Sequence[Run]) -> Interval | None:
    """Test accuracy minus that of plain training, paired by seed."""
    pairs = zip(runs, plain, strict=True) if plain else ()
    differences = [run.test - other.test for run, other in pairs]
    return Interval.of(differences) if differences else None


def comparison_table(comparison: Comparison) -> Table:
    """Returns the closing table, a row per method; accuracies in percent."""
    settings = comparison.settings
    title = f"{settings.student} taught by {settings.teacher} on {settings.data}, {settings.epochs} epochs"
    caption = (
        f"test accuracy in percent, mean and 95 % interval over {settings.seeds} seeds; differences paired by seed"
    )
    if settings.sparsity and {"simkd", "head-reuse"} & set(settings.methods):
        caption += "; sparsity is that of all kernels, of which a reused head stays dense"
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("method")
    columns = ["parameters", *(["sparsity"] if settings.sparsity else []), "test accuracy", "against plain", "seconds"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in summary(comparison)["methods"]:
        difference = row["difference_to_plain"]
        table.add_row(
            row["method"],
            f"{row['parameters']:,}",
            *([f"{row['sparsity']:.3f}"] if settings.sparsity else []),
            Interval(**row["test"]).percent(),
            Interval(**difference).percent("+") if difference else "-",
            f"{row['seconds']:.1f}",
        )
    return table


def prepare(path: Path) -> None:
    """Makes the directory for `write`, before anything is trained.

    Raises:
        InputError: It is in use or cannot be made.
    """
    RunDirectory.made(path)


def write(comparison: Comparison, path: Path) -> None:
    """Writes `results.json`, and `results.csv` with a row for each model that was trained."""
    lines = io.StringIO()
    rows = [asdict(run) for run in comparison.runs]
    writer = csv.DictWriter(lines, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    RunDirectory(path).write_json("results.json", summary(comparison))
    RunDirectory(path).write_text("results.csv", lines.getvalue())


class DistillDisplay:
    """Live progress over all epochs on a terminal, a line per trained model elsewhere; always on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._what = ""
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> DistillDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Shows that another epoch is done."""
        self._progress.update(self._task, description=what, completed=done, total=total)
        if what != self._what and not self._console.is_terminal:
            self._console.print(f"{what}: training, {done - 1} of {total} epochs done")
        self._what = what

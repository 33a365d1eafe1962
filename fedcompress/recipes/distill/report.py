"""What a comparison of distillation methods looks like: a table, files."""

from __future__ import annotations

from dataclasses import asdict
from statistics import mean
from typing import Any

from fedcompress.fitted_table import FittedTable
from fedcompress.recipes.distill.runs import TEACHER, Comparison
from fedcompress.recipes.table import to_csv
from fedcompress.results.compare.statistics import BETWEEN_SHARES, SHARE, Interval
from fedcompress.results.run.directory import RunDirectory
from fedcompress.units import counted


def summary(comparison: Comparison) -> dict[str, Any]:
    """Returns the whole comparison, as JSON has it; accuracies are fractions."""
    return {
        "settings": asdict(comparison.settings),
        "data_digest": comparison.data_digest,
        "versions": dict(comparison.versions),
        "methods": [_row(comparison, method) for method in (TEACHER, *comparison.settings.methods)],
        "runs": [asdict(run) for run in comparison.runs],
    }


def _row(comparison: Comparison, method: str) -> dict[str, Any]:
    runs, difference = comparison.of(method), _difference(comparison, method)
    return {
        "method": method,
        "parameters": runs[0].parameters,
        "sparsity": mean(run.sparsity for run in runs),
        "validation": _spread(Interval.of_known(run.validation for run in runs)),
        "test": _spread(Interval.of_known(run.test for run in runs)),
        "difference_to_plain": _spread(difference) if difference else None,
        "seconds": mean(run.seconds for run in runs),
    }


def _spread(interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {"mean": None, "half_width": None}
    return {"mean": interval.mean, "half_width": interval.half_width}


def _difference(comparison: Comparison, method: str) -> Interval | None:
    """Test accuracy minus that of plain training, paired by seed."""
    pairs = zip(comparison.of(method), comparison.of("plain"), strict=False)
    compares = method not in (TEACHER, "plain") and "plain" in comparison.settings.methods
    return Interval.of_known([run.test - plain.test for run, plain in pairs], BETWEEN_SHARES) if compares else None


def comparison_table(comparison: Comparison) -> FittedTable:
    """Returns the closing table, a row per method; accuracies in percent."""
    settings = comparison.settings
    title = f"{settings.student} taught by {settings.teacher} on {settings.data}, {counted(settings.epochs, 'epoch')}"
    seeds = counted(settings.seeds, "seed")
    caption = f"test accuracy in percent, mean and 95 % interval over {seeds}; differences paired by seed"
    if settings.sparsity and {"simkd", "head-reuse"} & set(settings.methods):
        caption += "; sparsity is that of all kernels, of which a reused head stays dense"
    sparsity = ["sparsity"] if settings.sparsity else []
    columns = ("method", "parameters", *sparsity, "test accuracy", "against plain", "seconds")
    return FittedTable(title, columns, [_cells(comparison, method) for method in (TEACHER, *settings.methods)], caption)


def _cells(comparison: Comparison, method: str) -> tuple[str, ...]:
    row, difference = _row(comparison, method), _difference(comparison, method)
    test = Interval.of_known((run.test for run in comparison.of(method)), SHARE)
    return (
        method,
        f"{row['parameters']:,}",
        *([f"{row['sparsity']:.3f}"] if comparison.settings.sparsity else []),
        test.percent() if test else "-",
        difference.signed(100.0, 2) if difference else "-",
        f"{row['seconds']:.1f}",
    )


def write(comparison: Comparison, directory: RunDirectory) -> None:
    """Writes `results.json`, and `results.csv` with a row for each model that was trained."""
    directory.write_json("results.json", summary(comparison))
    directory.write_text("results.csv", to_csv([asdict(run) for run in comparison.runs]))

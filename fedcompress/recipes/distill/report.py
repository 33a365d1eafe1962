"""What a comparison of distillation methods looks like: a table, files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

from fedcompress.fitted_table import FittedTable
from fedcompress.recipes.distill.comparison import TEACHER, Comparison, Run
from fedcompress.recipes.table import to_csv
from fedcompress.results.compare.statistics import BETWEEN_SHARES, SHARE, Interval
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.provenance import installed

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
        "validation": _spread(Interval.of([run.validation for run in runs])),
        "test": _spread(Interval.of([run.test for run in runs])),
        "difference_to_plain": _spread(difference) if difference else None,
        "seconds": mean(run.seconds for run in runs),
    }


def _spread(interval: Interval) -> dict[str, float | None]:
    return {"mean": interval.mean, "half_width": interval.half_width}


def _difference(runs: Sequence[Run], plain: Sequence[Run]) -> Interval | None:
    """Test accuracy minus that of plain training, paired by seed."""
    pairs = zip(runs, plain, strict=True) if plain else ()
    differences = [run.test - other.test for run, other in pairs]
    return Interval.of(differences) if differences else None


def comparison_table(comparison: Comparison) -> FittedTable:
    """Returns the closing table, a row per method; accuracies in percent."""
    settings = comparison.settings
    title = f"{settings.student} taught by {settings.teacher} on {settings.data}, {settings.epochs} epochs"
    caption = (
        f"test accuracy in percent, mean and 95 % interval over {settings.seeds} seeds; differences paired by seed"
    )
    if settings.sparsity and {"simkd", "head-reuse"} & set(settings.methods):
        caption += "; sparsity is that of all kernels, of which a reused head stays dense"
    sparsity = ["sparsity"] if settings.sparsity else []
    rows = [
        (
            row["method"],
            f"{row['parameters']:,}",
            *([f"{row['sparsity']:.3f}"] if sparsity else []),
            Interval(**row["test"], bounds=SHARE).percent(),
            _signed_percent(row["difference_to_plain"]),
            f"{row['seconds']:.1f}",
        )
        for row in summary(comparison)["methods"]
    ]
    columns = ("method", "parameters", *sparsity, "test accuracy", "against plain", "seconds")
    return FittedTable(title, columns, rows, caption)


def _signed_percent(difference: dict[str, float | None] | None) -> str:
    return Interval(**difference, bounds=BETWEEN_SHARES).signed(100.0, 2) if difference else "-"  # type: ignore[arg-type]


def write(comparison: Comparison, directory: RunDirectory) -> None:
    """Writes `results.json`, and `results.csv` with a row for each model that was trained."""
    directory.write_json("results.json", summary(comparison))
    directory.write_text("results.csv", to_csv([asdict(run) for run in comparison.runs]))

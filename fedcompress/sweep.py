"""Variants and seeds: every combination is a run of its own, compared at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from fedcompress.errors import RunError
from fedcompress.results.run_directory import RunDirectory, directory_name
from fedcompress.scenario import Scenario

Row = dict[str, Any]
_FIGURES: Mapping[str, Callable[[Row], Any]] = {
    "accuracy": lambda s: s["accuracy"],
    "best_accuracy": lambda s: s["best_accuracy"],
    "loss": lambda s: s["loss"],
    "clients_mean": lambda s: s["clients"]["mean"],
    "clients_worst10": lambda s: s["clients"]["worst10"],
    "uplink_bytes": lambda s: s["uplink_bytes"],
    "downlink_bytes": lambda s: s["downlink_bytes"],
    "seconds": lambda s: s["seconds"],
}


def run_sweep(scenario: Scenario, path: Path, run: Callable[[str, Scenario, Path], Row]) -> tuple[list[Row], list[str]]:
    """Runs all variants with all seeds into one directory; returns a row per variant, and why runs failed.

    A run that fails is counted, and the rest goes on. Into the directory of an unfinished sweep, it does what is left.

    Args:
        scenario: With a `[sweep]`.
        path: Gets a run directory per run, and `sweep.json`.
        run: Runs (label, scenario, directory) and returns the summary.
    """
    assert scenario.sweep is not None
    RunDirectory(path).write_text("scenario.toml", scenario.toml())
    problems: list[str] = []
    finished: dict[str, list[Row]] = {variant.name: [] for variant in scenario.sweep.variants}
    failed = dict.fromkeys(finished, 0)
    for label, variant_scenario in scenario.runs():
        variant = label.rpartition(" seed ")[0]
        try:
            finished[variant].append(run(label, variant_scenario, path / directory_name(label)))
        except RunError as error:
            failed[variant] += 1
            problems.append(f"{label}: {error}")
        rows = [_row(name, finished[name], failed[name]) for name in finished]
        RunDirectory(path).write_json("sweep.json", {"scenario": scenario.name, "variants": rows})
    return rows, problems


def _row(variant: str, summaries: Sequence[Row], failed: int) -> Row:
    figures = {name: _spread([value(s) for s in summaries]) for name, value in _FIGURES.items()}
    return {"variant": variant, "seeds": len(summaries), "failed": failed, **figures}


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean, and sample standard deviation where there are at least two values."""
    numbers = [v for v in values if v is not None]
    return {
        "mean": mean(numbers) if numbers else None,
        "std": stdev(numbers) if len(numbers) > 1 else None,
    }

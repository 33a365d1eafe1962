"""What `sweep.json` and the closing table say of each variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any, cast

from fedcompress.results.compare.statistics import measured
from fedcompress.rows import Summary, SweepRow
from fedcompress.scenario import Scenario
from fedcompress.sweep.jobs import Outcome

_FIGURES: Mapping[str, Callable[[Summary], Any]] = {
    "deployed_accuracy": lambda s: s.get("deployed_accuracy"),
    "deployed_worst": lambda s: s.get("deployed_worst"),
    "own_accuracy": lambda s: _over_clients(s, "own", "mean"),
    "own_worst10": lambda s: _over_clients(s, "own", "worst10"),
    "personal_accuracy": lambda s: _over_clients(s, "personal", "mean"),
    "personal_worst10": lambda s: _over_clients(s, "personal", "worst10"),
    "accuracy": lambda s: s["accuracy"],
    "best_accuracy": lambda s: s["best_accuracy"],
    "loss": lambda s: s["loss"],
    "clients_mean": lambda s: s["clients"]["mean"],
    "clients_worst10": lambda s: s["clients"]["worst10"],
    "uplink_bytes": lambda s: s["uplink_bytes"],
    "downlink_bytes": lambda s: s["downlink_bytes"],
    "seconds": lambda s: s["seconds"],
}


def variant_rows(scenario: Scenario, outcomes: Sequence[Outcome]) -> list[SweepRow]:
    """Returns a row per variant, in the order of the sweep, whatever the order in which its runs ended."""
    assert scenario.sweep is not None
    return [
        _row(variant.name, [o for o in outcomes if o.job.variant == variant.name])
        for variant in scenario.sweep.variants
    ]


def run_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Returns a row per run, for `runs.csv`: what its variant sets, how it ended, and its figures."""
    keys = list(dict.fromkeys(key for outcome in outcomes for key in outcome.job.settings))
    return [
        {
            "variant": outcome.job.variant,
            "seed": outcome.job.scenario.seed,
            **{key: outcome.job.settings.get(key) for key in keys},
            "status": "completed" if outcome.summary else "failed" if outcome.problem else "not run",
            **{name: value(outcome.summary) if outcome.summary else None for name, value in _FIGURES.items()},
        }
        for outcome in outcomes
    ]


def _row(variant: str, outcomes: Sequence[Outcome]) -> SweepRow:
    summaries = [outcome.summary for outcome in outcomes if outcome.summary is not None]
    failed = {o.job.scenario.seed: o.problem for o in outcomes if o.problem}
    figures = {name: _spread([value(s) for s in summaries]) for name, value in _FIGURES.items()}
    reasons = [f"seed {seed}: {problem}" for seed, problem in failed.items()]
    row: SweepRow = {"variant": variant, "seeds": len(summaries), "failed": len(failed), "problems": reasons}
    return cast(SweepRow, {**row, **figures})


def _over_clients(summary: Mapping[str, Any], of: str, key: str) -> float | None:
    return (summary.get(of) or {}).get(key)


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean, and sample standard deviation where there are at least two values; without what was not measured."""
    numbers = measured(values)
    return {
        "mean": mean(numbers) if numbers else None,
        "std": stdev(numbers) if len(numbers) > 1 else None,
    }

"""What the devices of a run's groups run, as it was measured at the end: never the global model in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedcompress.results.runs import RunResult


def deployed_accuracy(run: RunResult) -> float | None:
    """Returns the test accuracy of what devices run: the mean over groups, weighted by their clients.

    Runs of earlier versions have it by group alone: theirs is the mean if every group was tested.
    """
    summary: Mapping[str, Any] = run.summary
    if "deployed_accuracy" in summary:
        return _number(summary["deployed_accuracy"])
    known = list(deployed_by_group(run).values())
    clients = [float(group["clients"]) for group in run.summary["groups"].values()]
    if not known or None in known or not sum(clients):
        return None
    return sum(a * count for a, count in zip(known, clients, strict=True) if a is not None) / sum(clients)


def deployed_worst(run: RunResult) -> float | None:
    """Returns the deployed accuracy of the group that fares worst."""
    summary: Mapping[str, Any] = run.summary
    if "deployed_worst" in summary:
        return _number(summary["deployed_worst"])
    known = list(deployed_by_group(run).values())
    return None if not known or None in known else min(a for a in known if a is not None)


def deployed_by_group(run: RunResult) -> dict[str, float | None]:
    """Returns the deployed accuracy of each group; None where it was not tested."""
    return {name: _number(group.get("deployed_accuracy")) for name, group in run.summary["groups"].items()}


def tested_rounds(run: RunResult) -> list[int] | None:
    """Returns the rounds in which deployed models were tested; None of a run made before that was written down."""
    summary: Mapping[str, Any] = run.summary
    rounds = summary.get("deployed_rounds")
    return [int(number) for number in rounds] if isinstance(rounds, list) else None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)

"""The figures that a comparison compares: another one is another `Figure`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedcompress.judged import JUDGED, judged_name
from fedcompress.results.compare.statistics import AMOUNT, SHARE, Bounds
from fedcompress.results.deployed import deployed_accuracy, deployed_worst
from fedcompress.results.runs import RunResult


@dataclass(frozen=True)
class Figure:
    """Something that a comparison compares.

    Attributes:
        name: Column in CSV and `--fail-if`.
        title: What a person reads.
        unit: "share", "bytes", "seconds", "rounds", "joules" or "" for a plain number.
        better: 1 if more is better, -1 if less is.
        of: Its value for a run; None if the run has none.
    """

    name: str
    title: str
    unit: str
    better: int
    of: Callable[[RunResult], float | None]

    @property
    def bounds(self) -> Bounds:
        """What it can be: all figures but shares are amounts, which are not negative."""
        return SHARE if self.unit == "share" else AMOUNT


def _of_summary(*keys: str) -> Callable[[RunResult], float | None]:
    def of(run: RunResult) -> float | None:
        value: Any = run.summary
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if value is None else float(value)

    return of


def _total_bytes(run: RunResult) -> float:
    return float(run.summary["uplink_bytes"] + run.summary["downlink_bytes"])


def model_bytes(run: RunResult) -> float | None:
    """Deflated bytes of a client's model: the mean over groups, weighted by their clients."""
    sizes = [(group["clients"], group.get("compressed_bytes")) for group in run.summary["groups"].values()]
    known = [(clients, size) for clients, size in sizes if size is not None]
    return sum(clients * size for clients, size in known) / sum(clients for clients, _ in known) if known else None


def _last_rounds(run: RunResult) -> float | None:
    accuracies = run.rounds["accuracy"].dropna().tail(10)
    return float(accuracies.mean()) if len(accuracies) else None


DEPLOYED, GLOBAL, OWN, PERSONAL = (JUDGED[name].figure for name in ("deployed", "global", "own", "personal"))
"""What devices run, the global model, the models that clients keep, and what devices run after a local epoch."""

_OF_DEVICES = (
    Figure(DEPLOYED, "deployed accuracy", "share", 1, deployed_accuracy),
    Figure("deployed_worst", "deployed accuracy of the group that fares worst", "share", 1, deployed_worst),
)
_OTHERS = (
    Figure(OWN, JUDGED["own"].title, "share", 1, _of_summary("own", "mean")),
    Figure("own_worst10", "worst tenth of the clients' own models", "share", 1, _of_summary("own", "worst10")),
    Figure(PERSONAL, "personal accuracy", "share", 1, _of_summary("personal", "mean")),
    Figure("personal_worst10", "personal accuracy of the worst tenth", "share", 1, _of_summary("personal", "worst10")),
    Figure(
        *("deployed_best_accuracy", "deployed accuracy of the round best on validation data", "share", 1),
        _of_summary("deployed_best_accuracy"),
    ),
    Figure(GLOBAL, "global accuracy", "share", 1, _of_summary("accuracy")),
    Figure("accuracy_last10", "global accuracy, mean of the last 10 rounds", "share", 1, _last_rounds),
    Figure(
        *("best_accuracy", "global accuracy of the round best on validation data", "share", 1),
        _of_summary("best_accuracy"),
    ),
    Figure("loss", "loss of the global model", "", -1, _of_summary("loss")),
    Figure("clients_mean", "clients on their own distributions", "share", 1, _of_summary("clients", "mean")),
    Figure("clients_worst10", "worst tenth of the clients", "share", 1, _of_summary("clients", "worst10")),
    Figure("bytes", "bytes, up and down", "bytes", -1, _total_bytes),
    Figure("uplink_bytes", "bytes up", "bytes", -1, _of_summary("uplink_bytes")),
    Figure("downlink_bytes", "bytes down", "bytes", -1, _of_summary("downlink_bytes")),
    Figure("model_bytes", "deflated model of a client", "bytes", -1, model_bytes),
    Figure("epsilon", "epsilon of the client that released most", "", -1, _of_summary("epsilon")),
    Figure("rounds", "rounds", "rounds", -1, _of_summary("rounds")),
    Figure("seconds", "seconds of all rounds", "seconds", -1, _of_summary("seconds")),
    Figure("modelled_seconds", "seconds on modelled devices", "seconds", -1, _of_summary("modelled", "seconds")),
    Figure("modelled_joules", "energy of modelled devices", "joules", -1, _of_summary("modelled", "joules")),
)


def figures_of(runs: Sequence[RunResult]) -> tuple[Figure, ...]:
    """Returns what runs can be compared by: the deployed model first, then groups by the names that all runs have."""
    return (*_OF_DEVICES, *_of_groups(runs, DEPLOYED), *_of_groups(runs, OWN), *_of_groups(runs, PERSONAL), *_OTHERS)


def judged_by(runs: Sequence[RunResult]) -> tuple[str, list[str]]:
    """Returns the figure that runs are judged by, and what has to be said if their scenarios do not agree on it.

    Then it is one that all have and that is about the same: each client on its own distribution where one of the runs
    is judged so, otherwise what devices run.
    """
    names = list(dict.fromkeys(judged_name(run.scenario) for run in runs))
    if len(names) == 1:
        return JUDGED[names[0]].figure, []
    figure = "clients_mean" if {"own", "personal"} & set(names) else DEPLOYED
    (title,) = (f.title for f in (*_OF_DEVICES, *_OTHERS) if f.name == figure)
    same = ' To judge all by one, set evaluation.judged alike: by "own" plain clients can be judged, too.'
    advice = same if "own" in names else ""
    said = f"runs are judged by different figures ({', '.join(names)}); here all are judged by {title}."
    return figure, [f"{said}{advice}"]


def common_groups(runs: Sequence[RunResult]) -> list[str]:
    """Returns the names of the groups that every run has, in the order of the first run."""
    first, *others = (run.summary["groups"] for run in runs)
    return [name for name in first if all(name in groups for groups in others)]


def figure_of_group(figure: str, group: str) -> str:
    """Returns the name of a figure of a group: `deployed_accuracy.watch`."""
    return f"{figure}.{group}"


def _of_groups(runs: Sequence[RunResult], key: str) -> tuple[Figure, ...]:
    """Returns a figure of each group that all runs have and one has measured."""
    what = key.replace("_", " ")
    figures = [
        Figure(figure_of_group(key, name), f"{what} of group {name}", "share", 1, _of_summary("groups", name, key))
        for name in common_groups(runs)
    ]
    return tuple(figure for figure in figures if any(figure.of(run) is not None for run in runs))


def target_figures(target: float) -> tuple[Figure, ...]:
    """Returns what it takes until the global model first has `target` on the test set: infinite if it never has."""

    def until(value: Callable[[Any], float]) -> Callable[[RunResult], float]:
        def of(run: RunResult) -> float:
            reached = (run.rounds["accuracy"].astype(float) >= target).to_numpy()
            return float(value(run.rounds.iloc[: int(reached.argmax()) + 1])) if reached.any() else math.inf

        return of

    to = f"to {target:g}"
    return (
        Figure("rounds_to_target", f"rounds {to}", "rounds", -1, until(len)),
        Figure("seconds_to_target", f"seconds {to}", "seconds", -1, until(lambda r: r["seconds"].sum())),
        Figure(
            "bytes_to_target", f"bytes {to}", "bytes", -1, until(lambda r: (r.uplink_bytes + r.downlink_bytes).sum())
        ),
    )

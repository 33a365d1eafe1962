"""All trackers of a run: finds them, gathers their scalars, and keeps their faults away from the run."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from math import isfinite
from types import TracebackType
from typing import Any

import numpy as np

from fedcompress.errors import InputError, first_line
from fedcompress.experiment import Experiment
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.runs import flat_settings
from fedcompress.scenario.sections import TrackingSettings
from fedcompress.strategy import State
from fedcompress.tracking.base import Scalars, Tracked, Tracker

FOLDER = "tracking"
CLASSES = {"tensorboard": "TensorBoard", "wandb": "WeightsAndBiases", "mlflow": "Mlflow"}
"""Name in a scenario, of the extra, of the library and of our module -> class."""
_ROUND = (
    *("deployed_accuracy", "deployed_worst", "deployed_validation_accuracy", "personal_accuracy", "personal_worst10"),
    *("own_accuracy", "own_worst10"),
    *("accuracy", "loss", "validation_accuracy", "best", "seconds", "clients", "failures", "epsilon"),
)
_OVER_CLIENTS = {"accuracy": "mean", "worst10": "worst10"}
"""`personal_accuracy` and `personal_worst10`, `own_accuracy` and `own_worst10`, as `summary.json` calls them."""
_CLIENT = ("accuracy", "train_loss", "sparsity", "sparsity_target")
_SUMMARY = (
    *("deployed_accuracy", "deployed_worst"),
    *("accuracy", "best_accuracy", "loss", "uplink_bytes", "downlink_bytes", "seconds", "rounds"),
    "epsilon",
)
_GROUP = (
    *("deployed_accuracy", "deployed_validation_accuracy", "personal_accuracy", "personal_worst10"),
    *("own_accuracy", "own_worst10", "accuracy"),
)
"""Figures that are sent: `accuracy` is that of the global model, here and above."""


def check(experiment: Experiment) -> None:
    """Raises InputError if the library of a tracker that the scenario names is not installed."""
    if experiment.scenario.tracking is not None:
        check_installed(experiment.scenario.tracking)


def check_installed(settings: TrackingSettings) -> None:
    """Raises InputError if the library of a tracker is not installed."""
    for name in settings.trackers:
        if importlib.util.find_spec(name) is None:
            raise InputError(f'tracking: {name} is not installed; pip install "fedcompress[{name}]".')


class GuardedTrackers:
    """Trackers whose faults stay theirs: one that fails says so once, on standard error, and is done without.

    Args:
        missing: Takes a line for each tracker that has failed.
    """

    def __init__(self, missing: list[str]) -> None:
        self.missing = missing
        self._trackers: dict[str, Tracker] = {}

    def start(self, settings: TrackingSettings, tracked: Callable[[], Tracked], first_round: int) -> None:
        """Starts the trackers that a scenario or a recipe names; `tracked` says what they track."""
        for name in settings.trackers:
            with self._guarded(name):
                kind = getattr(importlib.import_module(f"fedcompress.tracking.{name}"), CLASSES[name])
                self._trackers[name] = kind(settings, tracked(), first_round)

    def each(self, act: Callable[[Tracker], None]) -> None:
        """Does something with each tracker that has not failed."""
        for name, tracker in list(self._trackers.items()):
            with self._guarded(name):
                act(tracker)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._trackers.pop(name, None)
            line = f"tracking: {name} failed and is left out: {type(error).__name__}: {first_line(error)}"
            print(f"warning: {line}", file=sys.stderr)
            self.missing.append(line)


class Trackers(GuardedTrackers):
    """The trackers that the scenario names, for the length of a run or of what is left of it; none by default.

    A tracker never costs the run.

    Args:
        experiment: The run's.
        directory: Of the run.
        missing: Takes a line for each tracker that has failed.
    """

    def __init__(self, experiment: Experiment, directory: RunDirectory, missing: list[str]) -> None:
        super().__init__(missing)
        self._experiment, self._directory = experiment, directory
        self._summary: Mapping[str, Any] = {}

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.each(lambda tracker: tracker.close(_of_summary(self._summary), completed=kind is None))

    def begin(self, first_round: int) -> None:
        """Starts the trackers at the round that comes next."""
        settings = self._experiment.scenario.tracking
        if settings is not None:
            self.start(settings, self._tracked, first_round)

    def round(self, row: Mapping[str, Any], clients: Sequence[Mapping[str, Any]], state: State) -> None:
        """Sends a round's scalars.

        Args:
            row: Of `rounds.jsonl`.
            clients: Rows of `clients.jsonl` of the round.
            state: Of the server strategy after the round.
        """
        scalars = cache(lambda: finite({**_of_round(row), **_of_groups(clients), **dict(self._of_layers(state))}))
        self.each(lambda tracker: tracker.log(row["round"], scalars()))

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Takes the final figures, which are sent when the run is over."""
        self._summary = summary

    def _tracked(self) -> Tracked:
        scenario = self._experiment.scenario
        config, path = dict(flat_settings(scenario.table())), self._directory.path
        return Tracked(path.name, scenario.name, key_of(self._directory), config, path / FOLDER)

    def _of_layers(self, state: State) -> Iterable[tuple[str, float]]:
        """Zeros of each layer of what the first client of each group would deploy."""
        for name, group in self._experiment.groups.items():
            client = self._experiment.clients[group.clients[0]]
            weights = self._experiment.tier(state, group) or self._experiment.server.deployed(state, client)
            if weights is not None:
                for position, layer in self._experiment.deployed_model(state, group).kernels.items():
                    yield f"sparsity {name}/{layer}", float(np.mean(weights[position] == 0))


def key_of(directory: RunDirectory, part: str = "") -> str:
    """Returns what tells a run apart from all others, and is the same whenever it goes on.

    Args:
        directory: Of the run.
        part: Of it, if it is tracked in parts.
    """
    began = directory.read_json("provenance.json").get("start", "")
    return sha256(f"{directory.path.resolve()}/{part}{began}".encode()).hexdigest()[:16]


def _of_summary(summary: Mapping[str, Any]) -> Scalars:
    """Returns the final figures; none of a run that did not get there."""
    if not summary:
        return {}
    of_run = {f"final/{key}": summary.get(key) for key in _SUMMARY}
    for of in ("personal", "own"):
        over = summary.get(of) or {}
        of_run |= {f"final/{of}_{key}": over.get(name) for key, name in _OVER_CLIENTS.items()}
    of_groups = {
        f"final group {name}/{key}": group.get(key) for name, group in summary["groups"].items() for key in _GROUP
    }
    return finite({**of_run, **of_groups})


def _of_round(row: Mapping[str, Any]) -> dict[str, Any]:
    known = {f"round/{key}": row.get(key) for key in _ROUND}
    groups = row.get("groups") or {}
    tested = {f"groups/{name}/{_clear(key)}": value for name, of in groups.items() for key, value in of.items()}
    sizes = {f"bytes/{direction}": row[f"{direction}_bytes"] for direction in ("uplink", "downlink")}
    modelled = {f"modelled/{key.removeprefix('modelled_')}": row[key] for key in row if key.startswith("modelled_")}
    return {**known, **tested, **sizes, **modelled}


def _clear(key: str) -> str:
    """Returns the name of a figure of a group: that of the global model, which a sparse group cannot run, says so."""
    return key if key.startswith(("deployed_", "personal_", "own_")) else f"global_{key}"


def _of_groups(clients: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the clients of each group that took part."""
    scalars = {}
    for group in sorted({row["group"] for row in clients}):
        good = [row for row in clients if row["group"] == group and row["status"] == "ok"]
        for key in _CLIENT:
            values = [row[key] for row in good if row.get(key) is not None]
            if values:
                scalars[f"group {group}/{key}"] = float(np.mean(values))
        scalars[f"group {group}/clients"] = float(len({row["client"] for row in good}))
    return scalars


def finite(scalars: Mapping[str, Any]) -> dict[str, float]:
    """Leaves out what was not measured."""
    return {name: float(value) for name, value in scalars.items() if value is not None and isfinite(value)}

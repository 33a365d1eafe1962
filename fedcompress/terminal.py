"""What a run looks like on a terminal: live progress, a closing table per group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose, isfinite
from typing import Any, Self

from fedcompress.devices import ABOUT
from fedcompress.experiment import Experiment
from fedcompress.fitted_table import FittedTable
from fedcompress.judged import DEFAULT, JUDGED, JudgedName
from fedcompress.privacy.accounts import told
from fedcompress.progress import ProgressLine
from fedcompress.results.run.recorder import Observer
from fedcompress.rows import Figure, RoundRow, Summary
from fedcompress.scenario import Scenario
from fedcompress.searching.trials import Trial
from fedcompress.sweep.jobs import Outcome, Watcher
from fedcompress.units import counted, number, size

_MOST_NAMED = 10
"""Rounds that the closing table names one by one."""


class ProgressDisplay(ProgressLine, Observer):
    """An observer: a live line on a terminal or in a notebook, a line per round elsewhere.

    Args:
        label: What runs, for example the name of the scenario or of a sweep's run.
    """

    def __init__(self, label: str) -> None:
        super().__init__(label, "rounds")
        self._up = self._down = 0
        self._judged: JudgedName = DEFAULT

    def started(self, experiment: Experiment, before: Sequence[RoundRow]) -> None:
        """Shows how many rounds there are; bytes go on from those of the rounds before."""
        total, self._judged = experiment.scenario.rounds, experiment.scenario.evaluation.judged
        self._up = sum(row["uplink_bytes"] for row in before)
        self._down = sum(row["downlink_bytes"] for row in before)
        self.begin(total, len(before), ["training"])
        earlier = f", {len(before)} of them done before" if before else ""
        self.note(f"{self._label}: {counted(total, 'round')}{earlier}, {counted(len(experiment.clients), 'client')}")
        for warning in experiment.warnings:
            self.say(f"warning: {warning}")

    def round_done(self, row: RoundRow) -> None:
        """Shows a finished round."""
        self._up += row["uplink_bytes"]
        self._down += row["downlink_bytes"]
        failed = f", {row['failures']} failed" if row["failures"] else ""
        first, *others = self._accuracies(row)
        status = [f"{first}{failed}", f"so far up {size(self._up)}, down {size(self._down)}", *others]
        self.update(row["round"], status)
        for event in row.get("events", ()):
            self.say(f"round {row['round']}: {event}")
        self.note(f"round {row['round']}/{self._total}: {', '.join(status)}, {row['seconds']:.1f} s, left {self.left}")

    def _accuracies(self, row: RoundRow) -> list[str]:
        """Returns what is shown of a round's accuracies, what matters most first."""
        return _how_it_goes(row, self._judged)


class TrialDisplay(ProgressDisplay):
    """That of a run in a search: it shows accuracies on validation data alone, as nothing is chosen by the test set."""

    def _accuracies(self, row: RoundRow) -> list[str]:
        columns: Mapping[str, Any] = row
        tested = {judged.short: columns.get(judged.validation) for judged in JUDGED.values()}
        known = [f"{name} on validation {number(value)}" for name, value in tested.items() if not _unknown(value)]
        return known or ["training"]


class SweepDisplay(ProgressLine, Watcher):
    """A watcher: a line after each run, and a live one on a terminal if runs go side by side.

    Args:
        side_by_side: Whether runs are carried out at the same time, and so have no displays of their own.
    """

    def __init__(self, side_by_side: bool = False) -> None:
        super().__init__("sweep", "runs", compiles=False)
        self._side_by_side = side_by_side
        self._failed = 0

    def __enter__(self) -> Self:
        return super().__enter__() if self._side_by_side else self

    def __exit__(self, *how: Any) -> None:
        if self._side_by_side:
            super().__exit__(*how)

    def begun(self, total: int, finished: int) -> None:
        """Says how many runs there are."""
        self.say(f"sweep of {counted(total, 'run')}" + (f", {finished} of them finished before" if finished else ""))
        self.begin(total, finished)

    def ended(self, outcome: Outcome) -> None:
        """Says how a run ended, and for how long the others will take: as long as those so far, on average."""
        summary = outcome.summary
        self._failed += summary is None
        how = f"failed: {outcome.problem}" if summary is None else ", ".join(_how_it_went(summary))
        if summary is not None and summary.get("stopped"):
            how += f" after {counted(summary['rounds'], 'round')}, stopped early"
        failed = [f"{self._failed} failed"] if self._failed else []
        self.update(self._done + 1, failed)
        so_far = ", ".join([f"{self._done} of {counted(self._total, 'run')} done", *failed])
        self.say(f"{outcome.job.label}: {how}; {so_far}, left {self.left}")


def told_of_trial(trial: Trial, best: Trial | None, scenario: Scenario) -> str:
    """Returns how a trial of a search went, in a line."""
    of = f"trial {trial.number} of {scenario.search.trials}" if scenario.search else f"trial {trial.number}"
    if trial.accuracy is None:
        return f"{of}: {trial.settings}: failed: {trial.problem}"
    known = (
        "the best so far" if best is None or best == trial else f"best: {number(best.accuracy)}, trial {best.number}"
    )
    return f"{of}: {trial.settings}: validation {number(trial.accuracy)} ({known})"


def summary_table(summary: Summary) -> FittedTable:
    """Returns the closing table of a run, a row per group."""
    how = ",\n".join(_how_it_went(summary, best=f" (best on validation {number(summary['best_accuracy'])})"))
    title = (
        f"{summary['scenario']}, seed {summary['seed']}: {how} "
        f"after {counted(summary['rounds'], 'round')}, {summary['seconds']:.1f} s"
    )
    caption = (
        f"up {size(summary['uplink_bytes'])}{_of_dense(summary)}, down {size(summary['downlink_bytes'])}\n"
        f"deployed models tested in {_tested(summary)}\n"
        f"each client on its own distribution: {_over_clients(summary['clients'])}"
    )
    personal = summary.get("personal")
    if personal and _unknown(personal["mean"]):
        personal = None  # models of the clients' own, which the server does not have
    if personal:
        caption += f"\nafter one more local epoch (personal): {_over_clients(personal)}"
    if personal or summary.get("own"):
        deflated = (f"{name} {size(group['compressed_bytes'])}" for name, group in summary["groups"].items())
        caption += f"\nmodels, deflated: {', '.join(deflated)}"  # a column more would not fit 80
    if stopped := summary.get("stopped"):
        caption += f"\nstopped early: {stopped['detail']}"
    if privacy := summary.get("privacy"):
        caption += f"\n{told(privacy)}"
    if modelled := summary.get("modelled"):
        caption += f"\non the groups' devices {modelled['seconds']:,.1f} s and {modelled['joules']:,.1f} J, {ABOUT}"
    own = summary.get("own")
    if own:
        whose = "own models, or what devices run if none is kept, on own distributions (own)"
        caption += f"\n{whose}: {_over_clients(own)}"
    measured = ("deployed", *(["own"] if own else []), *(["personal"] if personal else []), "global")
    last = () if personal or own else ("deflated",)
    columns = ("group", "clients", *measured, "sparsity", "upload", "of dense", *last)
    rows = [
        (
            name,
            str(group["clients"]),
            number(group.get("deployed_accuracy")),
            *([number(group.get("own_accuracy"))] if own else []),
            *([number(group.get("personal_accuracy"))] if personal else []),
            number(group["accuracy"]),
            number(group["sparsity"], 3),
            size(group["upload_bytes"]),
            _percent(group["upload_bytes"], group["dense_upload_bytes"]),
            *([] if personal or own else [size(group["compressed_bytes"])]),
        )
        for name, group in summary["groups"].items()
    ]
    return FittedTable(title, columns, rows, caption)


def _how_it_goes(row: RoundRow, judged: JudgedName = DEFAULT) -> list[str]:
    """Returns the accuracies of a round: that by which the run is judged, of what devices run, of the global model.

    What was not tested is left out.
    """
    of_global, deployed = row["accuracy"], row.get("deployed_accuracy")
    if judged in ("own", "personal"):
        by: Figure = row.get(JUDGED[judged].figure)  # type: ignore[assignment]
        first = [] if _unknown(by) else [f"{JUDGED[judged].short} {number(by)}"]
    else:
        first = []
    if not first and _same_for_devices(row["groups"]):
        return [f"accuracy {number(of_global)}"]
    tested = [*([] if _unknown(deployed) else [f"deployed {number(deployed)}"]), f"global {number(of_global)}"]
    return [*first, *(reversed(tested) if judged == "global" else tested)]


def _how_it_went(summary: Summary, best: str = "") -> list[str]:
    """Returns the accuracies of a run, first that by which it is judged; of devices, with the group that fares worst.

    Where all devices run the global model, or there is none, that is one accuracy.

    Args:
        summary: Of the run.
        best: What stands behind the accuracy of the global model.
    """
    judged: Any = summary.get("judged", DEFAULT)
    over: Any = summary.get(judged) if judged in ("own", "personal") else None
    first = []
    if over:
        worst_tenth = f" (worst tenth of the clients {number(over['worst10'])})"
        first = [f"{JUDGED[judged].title} {number(over['mean'])}{worst_tenth}"]
    elif _same_for_devices(summary["groups"]):
        return [f"accuracy {number(summary['accuracy'])}{best}"]
    of_groups = {name: group.get("deployed_accuracy") for name, group in summary["groups"].items()}
    known = {name: value for name, value in of_groups.items() if value is not None and isfinite(value)}
    all_known = len(known) == len(of_groups) > 1  # the worst may be one that is not known
    worst = min(known, key=lambda name: known[name]) if all_known else None
    named = f" (worst group: {worst} {number(known[worst])})" if worst is not None else ""
    deployed = f"deployed accuracy {number(summary.get('deployed_accuracy'))}{named}"
    of_global = f"global {number(summary['accuracy'])}{best}"
    if judged == "global":
        return [f"global accuracy {number(summary['accuracy'])}{best}", deployed]
    return [*first, deployed, of_global]


def _same_for_devices(groups: Mapping[str, Any]) -> bool:
    """Whether the devices of each group have the global model's accuracy: a mean over groups may hide that they do not.

    Means over clients that are equal may differ in their last bit.
    """
    pairs = [(group.get("deployed_accuracy"), group["accuracy"]) for group in groups.values()]
    return all(a == b or (a is not None and b is not None and isclose(a, b)) for a, b in pairs)


def _of_dense(summary: Summary) -> str:
    """Returns, in brackets, what dense float32 would have cost; nothing where no models were to be sent."""
    sent, dense = summary["uplink_bytes"], summary["dense_uplink_bytes"]
    return f" ({compared_with_dense(dense / sent)})" if sent and dense else ""


def _tested(summary: Summary) -> str:
    """Says in which rounds what devices run was tested."""
    rounds = summary.get("deployed_rounds", [])
    if not rounds:
        return "no round"
    if len(rounds) == summary["rounds"]:
        return "each round"
    shown = ", ".join(map(str, rounds)) if len(rounds) <= _MOST_NAMED else f"{rounds[0]}, {rounds[1]}, ... {rounds[-1]}"
    return f"round{'s' if len(rounds) > 1 else ''} {shown}"


def _over_clients(figures: Mapping[str, float]) -> str:
    return f"mean {number(figures.get('mean'))}, worst tenth {number(figures.get('worst10'))}"


def _unknown(figure: Figure) -> bool:
    return figure is None or not isfinite(figure)


def _percent(part: float | None, whole: float | None) -> str:
    return "-" if part is None or not whole else f"{part / whole:.1%}"


def compared_with_dense(saved: float) -> str:
    """Returns what dense float32 would have cost as a multiple of what was sent, or the other way round."""
    return f"{1 / saved:.1f} times as much as dense" if 0 < saved < 1 else f"{saved:.1f} times less than dense"

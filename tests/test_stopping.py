"""Early stop: on rows worked out by hand, and that a run ends, resumes and adds up as it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.launch import resume_one, run_one
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.scenario.sections import StopSettings
from fedcompress.stopping import Stopping
from federating import PRUNING, TINY, experiment, run


def rows(*validation: float | None, **figures: float) -> list[dict[str, Any]]:
    common = {"accuracy": 0.5, "uplink_bytes": 60, "downlink_bytes": 40, "seconds": 2.0, **figures}
    return [{"round": i, "validation_accuracy": value, **common} for i, value in enumerate(validation, 1)]


def ends(settings: dict[str, Any], made: list[dict[str, Any]], ready: int = 1) -> tuple[int, str] | None:
    """Returns the round after which a run ends, and why, asked after every round as a run does."""
    stopping = Stopping(StopSettings(**settings), ready)
    for number in range(1, len(made) + 1):
        if stopped := stopping.after(made[:number]):
            return number, stopped.because
    return None


CASES: dict[str, tuple[dict[str, Any], list[float | None], int, tuple[int, str] | None]] = {
    # Best 0.6 in round 2; 0.6005 gains less than 0.001; two rounds without a gain are over after round 4.
    "convergence": ({"patience": 2}, [0.5, 0.6, 0.6005, 0.6, 0.9], 1, (4, "patience")),
    # Gains of 0.0006 each: the second is 0.0012 above the best that counted, and counts.
    "small gains add up": ({"patience": 2}, [0.5, 0.5006, 0.5012, 0.5018, 0.5024], 1, None),
    "a gain starts the count anew": ({"patience": 2}, [0.5, 0.5, 0.6, 0.6, 0.6], 1, (5, "patience")),
    # What was reached with denser models says nothing: the count begins in round 3.
    "pruning is waited for": ({"patience": 2}, [0.9, 0.9, 0.5, 0.5, 0.5], 3, (5, "patience")),
    "target": ({"target": 0.6}, [0.5, 0.59, 0.6, 0.7], 1, (3, "target")),
    "target with the sparsity that was asked": ({"target": 0.6}, [0.7, 0.7, 0.5, 0.65], 3, (4, "target")),
    "rounds without a test are not judged": ({"patience": 1}, [0.5, None, None, 0.5], 1, (4, "patience")),
    "bytes": ({"bytes": 250}, [0.1, 0.2, 0.3, 0.4], 1, (3, "bytes")),
    "seconds": ({"seconds": 4.0}, [0.1, 0.2, 0.3], 1, (2, "seconds")),
    "the first that holds": ({"bytes": 300, "target": 0.2}, [0.1, 0.2, 0.3], 1, (2, "target")),
    "none": ({"bytes": 1000}, [0.1, 0.2, 0.3], 1, None),
}


def test_a_run_can_be_judged_by_what_devices_run() -> None:
    """Only rounds after which it was tested count: 0.4, 0.6, 0.6, while the global model is at 0.9 throughout."""
    made = rows(0.9, 0.9, 0.9, 0.9, 0.9)
    for row, value in zip(made, (0.4, None, 0.6, None, 0.6), strict=True):
        row["deployed_validation_accuracy"] = value
    assert ends({"by": "deployed", "target": 0.6}, made) == (3, "target")
    assert ends({"by": "deployed", "patience": 1}, made) == (5, "patience")
    assert ends({"by": "global", "target": 0.6}, made) == (1, "target")
    stopped = Stopping(StopSettings(by="deployed", patience=1)).after(made)
    assert stopped is not None
    assert stopped.detail == (
        "no gain of more than 0.001 in deployed validation accuracy for 1 tested rounds, after 0.6000"
    )


@pytest.mark.parametrize("case", CASES)
def test_when_a_run_ends(case: str) -> None:
    settings, validation, ready, expected = CASES[case]
    assert ends(settings, rows(*validation), ready) == expected


def test_the_test_set_ends_nothing() -> None:
    """Test accuracy at its best, validation accuracy low: no target is reached, and it does not matter for patience."""
    assert ends({"target": 0.6}, rows(0.1, 0.2, 0.3, accuracy=1.0)) is None


def test_a_run_does_not_end_after_a_round_without_a_test() -> None:
    made = rows(0.5, None, 0.5)
    made[1]["accuracy"] = None
    assert ends({"bytes": 200}, made) == (3, "bytes")


def test_a_schedule_says_when_accuracy_begins_to_count() -> None:
    """Of 5 rounds the third is the first at the full target (three fifths)."""
    made = experiment(PRUNING, rounds=5, stop={"target": 0.01})
    assert [made.groups["pruned"].compression.target(n) == 0.8 for n in range(1, 6)] == [False, False, True, True, True]
    stopping = Stopping.of(made)
    assert stopping.after(rows(0.9, 0.9)) is None
    assert stopping.after(rows(0.9, 0.9, 0.9)) is not None


REFUSED = {
    "empty": ({"stop": {}}, "stop: is empty; give at least one of patience, target, bytes, seconds, modelled_seconds."),
    "min_delta alone": ({"stop": {"min_delta": 0.1}}, "stop: is empty; give at least one of patience"),
    "unknown": ({"stop": {"patiense": 3}}, "stop.patiense: unknown key. Did you mean 'patience'?"),
    "range": ({"stop": {"target": 1.5}}, "stop.target: received 1.5; input should be less than or equal to 1."),
    "no validation data": (
        {"stop": {"patience": 2}, "data": {**TINY["data"], "server_validation": 0.0}},
        "stop: patience and target need validation data, but data.server_validation is 0.",
    ),
    "rounds that nobody chose": (
        {"stop": {"by": "deployed", "patience": 2}},
        'stop.by: received "deployed", but evaluation.deployed_every is not set; say in which rounds what devices run '
        "is tested, such as deployed_every = 1.",
    ),
    "by alone": ({"stop": {"by": "deployed"}}, "stop: is empty; give at least one of patience"),
    "no device": (
        {"stop": {"modelled_seconds": 2.0}},
        "stop.modelled_seconds: is for modelled devices, but no group has a device.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_judged_is_refused(case: str) -> None:
    table, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        Scenario.parse({**TINY, **table})
    assert caught.value.problems[0].startswith(message)


class Breaks(Observer):
    """Interrupts a run after a round."""

    def __init__(self, after: int) -> None:
        self.after = after

    def round_done(self, row: dict[str, Any]) -> None:
        if row["round"] == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("cut", [1, 2])
def test_a_run_that_stops_early(tmp_path: Path, cut: int) -> None:
    """After the round that spends the budget, to what the first rounds of an endless run give; resumed after the round
    before, or after its very last one, likewise."""
    endless = Scenario.parse({**TINY, "rounds": 4})
    spent, *_ = run(experiment(rounds=1), tmp_path / "one")
    budget = spent["uplink_bytes"] + spent["downlink_bytes"] + 1
    made = Scenario.parse(endless.table(), {"stop.bytes": budget})
    summary, *_ = run(Experiment.load(made), tmp_path / "run")
    assert (summary["status"], summary["rounds"]) == ("completed", 2)
    assert summary["stopped"]["because"] == "bytes"
    assert "bytes are spent, of a budget of" in summary["stopped"]["detail"]
    two, *_ = run(experiment(rounds=2), tmp_path / "two")
    assert summary["model_digest"] == two["model_digest"]
    assert two["stopped"] is None
    with pytest.raises(KeyboardInterrupt):
        run_one(made, tmp_path / "cut", observer=Breaks(cut))
    resumed = resume_one(tmp_path / "cut")
    same = ("status", "rounds", "stopped", "accuracy", "best_accuracy", "uplink_bytes", "model_digest", "clients")
    assert {key: resumed[key] for key in same} == {key: summary[key] for key in same}
    assert len(RunDirectory(tmp_path / "cut").rows("rounds")) == 2

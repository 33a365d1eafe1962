"""Searches: by validation data alone, on seeds of their own, gone on with after a kill; with Optuna and without it."""

from __future__ import annotations

import importlib.util
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import fedcompress
from fedcompress.errors import InputError, RunError
from fedcompress.judged import JUDGED, JudgedName
from fedcompress.options import Options
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.scenario.search import SearchSettings
from fedcompress.searching import asking, search, trials
from fedcompress.searching.trials import Trial
from fedcompress.sweep.jobs import Job, Outcome

RATE = "training.learning_rate"
SPACE: dict[str, Any] = {RATE: {"low": 0.001, "high": 0.1, "log": True}, "training.epochs": {"low": 1, "high": 3}}
RATES = (0.01, 0.02, 0.05, 0.04)


@pytest.fixture
def searched(tiny: dict[str, Any]) -> dict[str, Any]:
    """A table with a search of four trials, each with two seeds."""
    return {**tiny, "rounds": 1, "search": {"seeds": [101, 102], "trials": 4, "space": SPACE}}


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has trials take learning rates from a list, as Optuna need not be installed."""
    monkeypatch.setattr(asking, "check_installed", lambda: None)
    monkeypatch.setattr(asking, "next_params", lambda settings, over, n: {RATE: RATES[n - 1], "training.epochs": 2})


def accuracy(job: Job) -> float:
    """Best at a learning rate of 0.05; a seed is 0.01 better than the one before."""
    return 0.5 - abs(job.scenario.training.learning_rate - 0.05) + 0.01 * (job.scenario.seed - 101)


def told_nothing(*_: Any) -> None:
    pass


class Runner:
    """Pretends to run: writes what is read of a run. It is interrupted, or fails, where it is told to."""

    def __init__(self, interrupted: str = "", failing: str = "", column: str = "deployed_validation_accuracy") -> None:
        self.interrupted, self.failing, self.column = interrupted, failing, column
        self.ran: list[str] = []

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in jobs:
            if job.label == self.interrupted:
                raise KeyboardInterrupt
            self.ran.append(job.label)
            if job.label == self.failing:
                yield Outcome(job, None, "round 1: the global model is not finite")
                continue
            job.path.mkdir()
            directory = RunDirectory(job.path)
            columns = [judged.validation for judged in JUDGED.values()]
            row = {"accuracy": 0.99, **dict.fromkeys(columns, 0.1), self.column: accuracy(job)}
            directory.append("rounds", [row])
            summary: Any = {"status": "completed"}
            directory.write_json("summary.json", summary)
            yield Outcome(job, summary)


def carried_out(
    table: dict[str, Any], path: Path, monkeypatch: pytest.MonkeyPatch, runner: Runner
) -> search.SearchResult:
    scenario = Scenario.parse(table)
    monkeypatch.setattr(search, "runner_of", lambda *_: runner)
    path.mkdir(exist_ok=True)
    return search.carry_out(scenario, path, Options(), lambda _: Observer(), told_nothing)  # type: ignore[arg-type,return-value]


@pytest.mark.usefixtures("listed")
def test_the_best_is_chosen_by_validation_data(
    searched: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trial 3 has the rate 0.05: (0.5 + 0.51) / 2. What it writes is a scenario of the same settings."""
    result = carried_out(searched, tmp_path / "found", monkeypatch, Runner())
    assert (result.best.number, result.best.accuracy) == (3, pytest.approx(0.505))
    assert [trial.state for trial in result.trials] == ["completed"] * 4
    written = Scenario.load(tmp_path / "found" / "best.toml")
    assert written == result.scenario == Scenario.parse({**searched, "search": None}, dict(result.best.params))
    assert result.toml.startswith(
        "# Best of 4 trials, trial 3: deployed accuracy 0.5050 on validation data, mean over seeds 101, 102.\n"
        "# training.learning_rate=0.05, training.epochs=2\n# Report it on other seeds.\nname = "
    )
    rows = (tmp_path / "found" / "trials.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "trial,training.learning_rate,training.epochs,state,validation_accuracy,problem"
    assert rows[3].startswith("3,0.05,2,completed,0.505")


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize("judged", ["own", "personal"])
def test_a_search_goes_by_what_the_run_is_judged_by(
    judged: JudgedName, searched: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched["server"] = {"strategy": "ditto" if judged == "own" else "fedavg"}
    searched["groups"] = [{"name": "all", "model": "mini-cnn", "client": "ditto" if judged == "own" else "sgd"}]
    searched["evaluation"] = {"judged": judged, "personal_every": 1}
    runner = Runner(column=f"{judged}_validation_accuracy")
    result = carried_out(searched, tmp_path / "found", monkeypatch, runner)
    assert (result.best.number, result.best.accuracy) == (3, pytest.approx(0.505))
    assert f"trial 3: {JUDGED[judged].title} 0.5050 on validation data, mean" in result.toml


@pytest.mark.usefixtures("listed")
def test_a_search_that_was_broken_off_goes_on(
    searched: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial that was under way is the one that was asked for; nothing that is finished is run again."""
    whole = carried_out(searched, tmp_path / "whole", monkeypatch, Runner())
    with pytest.raises(KeyboardInterrupt):
        carried_out(searched, tmp_path / "broken", monkeypatch, Runner(interrupted="trial 2 seed 102"))
    assert trials.read(tmp_path / "broken")[1] == Trial(2, {RATE: 0.02, "training.epochs": 2})
    monkeypatch.setattr(Job, "other_runs", lambda *_: [])  # what was pretended to have run has no provenance
    rest = Runner()
    assert carried_out(searched, tmp_path / "broken", monkeypatch, rest) == whole
    assert rest.ran == [f"trial {t} seed {s}" for t, s in ((2, 102), (3, 101), (3, 102), (4, 101), (4, 102))]


@pytest.mark.usefixtures("listed")
def test_a_trial_that_fails_is_told_and_left_behind(
    searched: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = carried_out(searched, tmp_path / "found", monkeypatch, Runner(failing="trial 3 seed 101"))
    failed = result.trials[2]
    assert (failed.state, failed.problem) == ("failed", "seed 101: round 1: the global model is not finite")
    assert result.best.number == 4
    searched["search"] |= {"trials": 1}
    with pytest.raises(RunError, match="none of 1 trial has a validation accuracy:\nseed 101: round 1: the global"):
        carried_out(searched, tmp_path / "none", monkeypatch, Runner(failing="trial 1 seed 101"))


@pytest.mark.usefixtures("listed")
def test_a_search_from_the_command_line(call: Callable[..., Any], searched: dict[str, Any], tmp_path: Path) -> None:
    """Real runs; what is printed is a scenario, and a search that is over is only told again."""
    searched["search"] |= {"trials": 1, "seeds": [101]}
    (tmp_path / "tuned.toml").write_text(tomli_w.dumps(searched), encoding="utf-8")
    done = call("run", "tuned.toml", "--out", "found")
    assert done.code == 0, done.err
    (row,) = RunDirectory(tmp_path / "found" / "trial-0001-seed-101").rows("rounds")
    value = row["deployed_validation_accuracy"]
    told = f"trial 1 of 1: training.learning_rate=0.01, training.epochs=2: validation {value:.4f} (the best so far)"
    assert told in done.err.splitlines()
    assert done.out == (tmp_path / "found" / "best.toml").read_text(encoding="utf-8")
    assert call("resume", "found").out == done.out
    best = json.loads(call("resume", "found", "--json").out)["best"]
    assert best["validation_accuracy"] == value
    for wrong, advice in ((fedcompress.run, "use fedcompress.search"), (fedcompress.run_all, "use fedcompress.search")):
        with pytest.raises(InputError, match=advice):
            wrong("tuned.toml")
    with pytest.raises(InputError, match=r"has no \[search\]; use fedcompress\.run"):
        fedcompress.search("found/best.toml")


def test_without_optuna_there_is_one_clear_error(
    call: Callable[..., Any], searched: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tuned.toml").write_text(tomli_w.dumps(searched), encoding="utf-8")
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    done = call("run", "tuned.toml", "--out", "found")
    message = 'error: search: Optuna is not installed; pip install "fedcompress[search]".\n'
    assert (done.code, done.out, done.err) == (2, "", message)
    assert not (tmp_path / "found").exists()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "its own seed": ({"search.seeds": [1, 101]}, "search.seeds: received 1, the scenario's own seed"),
    "no seeds": ({"search.seeds": []}, "search.seeds: received []"),
    "a seed twice": ({"search.seeds": [101, 101]}, "search: seeds have to differ"),
    "no validation data": ({"data.server_validation": 0.0}, "search: is by validation data, but data.server"),
    "no validation data of clients": (
        {"evaluation.judged": "personal", "evaluation.personal_every": 1, "data.validation": 0.0},
        "search: is by validation data, but data.validation is 0",
    ),
    "by what is not measured": (
        {"search.by": "own"},
        'search.by: received "own", but the run is judged by "deployed", so that it is not measured; set '
        'evaluation.judged = "own" as well',
    ),
    "a sweep as well": ({"sweep.seeds": [1, 2]}, "search: there is a sweep as well"),
    "an empty space": ({"search.space": {}}, "search: space: is empty"),
    "a value": ({"search.space": {RATE: 0.1}}, f"search: space.{RATE}: received 0.1; expected a list of values, as in"),
    "one end": ({"search.space": {RATE: {"low": 0.1}}}, f"search: space.{RATE}: received {{'low': 0.1}}; expected two"),
    "the wrong order": ({"search.space": {RATE: {"low": 2, "high": 1}}}, "received 2 to 1; expected high above low"),
    "a logarithm of 0": (
        {"search.space": {RATE: {"low": 0, "high": 1, "log": True}}},
        "received 0 to 1; expected low above 0 and high above low",
    ),
    "no such key": ({"search.space": {RATE: {"low": 1, "high": 2, "lgo": True}}}, f"space.{RATE}.lgo: unknown key"),
    "seeds": ({"search.space": {"data.seed": [1, 2]}}, "search: space: data.seed cannot be searched"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(searched: dict[str, Any], case: str) -> None:
    overrides, problem = BAD[case]
    with pytest.raises(InputError) as caught:
        Scenario.parse(searched, overrides)
    assert problem in str(caught.value)


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    ("space", "problem"),
    [
        ({"training.epohcs": [1, 2]}, "search.space, training.epohcs = 1: training.epohcs: unknown key. Did you mean"),
        ({RATE: {"low": -1.0, "high": 1.0}}, f"search.space, {RATE} = -1.0: {RATE}: received -1.0"),
        (
            {"groups.dense.client": ["sgd", "fedporx"]},
            "search.space, groups.dense.client = fedporx: groups.dense.client",
        ),
        (
            {"groups.dense.client": ["sgd", "fedporx", "fedprox"]},
            "search.space, groups.dense.client = fedporx: groups.dense.client",
        ),
    ],
)
def test_a_space_that_leads_nowhere_is_refused_before_anything_runs(
    searched: dict[str, Any], tmp_path: Path, space: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        search.begin(Scenario.parse(searched, {"search.space": space}), tmp_path / "found", Options())
    assert caught.value.problems[0].startswith(problem)
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        ({"rouns": [1, 2]}, "error: search.space, rouns = 1: rouns: unknown key. Did you mean 'rounds'?"),
        ({"training.epochs": {"low": 0, "high": 3}}, "error: search.space, training.epochs = 0: training.epochs"),
        ({"groups.dense.client": ["sgd", "nope"]}, "error: search.space, groups.dense.client = nope: groups.dense"),
    ],
)
def test_show_says_of_a_space_what_a_run_says(
    searched: dict[str, Any], call: Callable[..., Any], space: dict[str, Any], problem: str
) -> None:
    Path("searched.toml").write_text(tomli_w.dumps({**searched, "search": {**searched["search"], "space": space}}))
    done = call("show", "searched.toml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(problem)


def test_the_order_of_a_space_does_not_matter(searched: dict[str, Any]) -> None:
    """A scenario that is written and read again, as for resume, has lists before tables."""
    scenario = Scenario.parse(searched, {"search.space": {**SPACE, "groups.dense.client": ["sgd", "fedprox"]}})
    again = Scenario.parse(tomllib.loads(scenario.toml()))
    assert scenario.search is not None
    assert again.search is not None
    assert list(scenario.search.space) != list(again.search.space)
    assert list(scenario.search.dimensions) == list(again.search.dimensions)
    assert list(again.search.dimensions) == ["groups.dense.client", "training.epochs", RATE]


def asked(settings: SearchSettings, count: int, value: Callable[[dict[str, Any]], float]) -> list[Trial]:
    made: list[Trial] = []
    for number in range(1, count + 1):
        params = asking.next_params(settings, made, number)
        made.append(Trial(number, params, "completed", {"101": value(params)}))
    return made


def test_optuna_is_asked_for_the_same_again() -> None:
    """Numbers in their ranges, whole ones whole; the accuracy is highest at a rate of 0.01 and 3 epochs."""
    pytest.importorskip("optuna")
    space = {**SPACE, "groups.all.client": ["sgd", "fedprox"]}
    settings = SearchSettings.model_validate({"seeds": [101], "space": space})

    def value(params: dict[str, Any]) -> float:
        return 0.5 + 0.1 * params["training.epochs"] - 0.1 * abs(math.log10(params[RATE]) + 2)

    made = asked(settings, 30, value)
    assert asking.next_params(settings, made[:12], 13) == made[12].params
    assert all(0.001 <= trial.params[RATE] <= 0.1 for trial in made)
    assert {trial.params["training.epochs"] for trial in made} == {1, 2, 3}
    assert {trial.params["groups.all.client"] for trial in made} == {"sgd", "fedprox"}
    late = [value(dict(trial.params)) for trial in made[10:]]
    early = [value(dict(trial.params)) for trial in made[:10]]
    assert sum(late) / len(late) > sum(early) / len(early)
    failed = Trial(2, made[1].params, "failed")
    assert asking.next_params(settings, [made[0], failed], 3).keys() == space.keys()

"""What a run is judged by: own and personal models, early stop by them, and what is said and refused beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.errors import InputError
from fedcompress.judged import JUDGED, judged_name
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario
from fedcompress.stopping import Stopping
from federating import PRUNING, TINY, experiment, run

DATA = {"data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"}}
DITTO: dict[str, Any] = {
    **DATA,
    "groups": [{"name": "all", "model": "mini-cnn", "client": "ditto"}],
    "server": {"strategy": "ditto"},
}
Ran = tuple[dict[str, Any], RunDirectory]


def headed(kind: str) -> dict[str, Any]:
    """Returns a federation of clients that keep a classifier under a strategy that does not know it."""
    return {**DATA, "groups": [{"name": "all", "model": "mini-cnn", "client": kind}]}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    made = experiment(DITTO, rounds=2, evaluation__judged="own")
    summary, directory, _ = run(made, tmp_path_factory.mktemp("own") / "run")
    return summary, directory


def test_own_models_are_scored_on_own_distributions(ran: Ran) -> None:
    summary, directory = ran
    rounds, clients = directory.rows("rounds"), directory.rows("clients")
    for row in rounds:
        own = [client for client in clients if client["round"] == row["round"]]
        assert row["own_accuracy"] == pytest.approx(np.mean([client["accuracy"] for client in own]))
        assert row["own_worst10"] == min(client["accuracy"] for client in own)
        assert row["own_validation_accuracy"] == pytest.approx(
            np.mean([client["local_validation_accuracy"] for client in own])
        )
        assert row["groups"]["all"]["own_accuracy"] == row["own_accuracy"]
    assert (summary["judged"], summary["own"]["mean"]) == ("own", rounds[-1]["own_accuracy"])
    assert summary["own"] == summary["clients"]  # devices run them
    assert directory.read_json("federation.json")["own"] == directory.read_json("federation.json")["accuracies"]


def test_what_a_run_is_judged_by_changes_no_weights(ran: Ran, tmp_path: Path) -> None:
    summary, _ = ran
    plain, directory, _ = run(experiment(DITTO, rounds=2), tmp_path / "run")
    assert (plain["judged"], plain["model_digest"]) == ("deployed", summary["model_digest"])
    assert "own" not in plain and "own_accuracy" not in directory.rows("rounds")[-1]
    assert plain["deployed_accuracy"] == summary["deployed_accuracy"]


@pytest.mark.parametrize(
    ("judged", "by", "column"),
    [
        ("deployed", None, "validation_accuracy"),
        ("global", None, "validation_accuracy"),
        ("own", None, "own_validation_accuracy"),
        ("personal", None, "personal_validation_accuracy"),
        ("own", "global", "validation_accuracy"),
    ],
)
def test_early_stop_follows_it_unless_told_otherwise(judged: str, by: str | None, column: str) -> None:
    table = {**DITTO, "evaluation": {"judged": judged, "personal_every": 1}, "stop": {"target": 0.5}}
    scenario = Scenario.parse({**TINY, **table}, {} if by is None else {"stop.by": by})
    row: Any = {"round": 1, "accuracy": 0.9, "own_accuracy": 0.9, **dict.fromkeys(("uplink_bytes", "seconds"), 0)}
    row |= {"downlink_bytes": 0, **{j.validation: 0.4 for j in JUDGED.values()}}
    stopping = Stopping(scenario.stop, by=scenario.stops_by)
    assert stopping.after([row]) is None
    stopped = stopping.after([{**row, column: 0.6}])
    assert stopped is not None
    assert stopped.detail == f"{column.replace('_', ' ')} 0.6000 has reached the target of 0.5"
    assert Scenario.parse(scenario.table()).stops_by == scenario.stops_by


def test_a_variant_that_is_judged_by_another_figure_is_ended_by_that() -> None:
    variants = [{"name": "plain"}, {"name": "own", "set": {"evaluation.judged": "own"}}]
    table = {**TINY, **DITTO, "stop": {"target": 0.5}, "sweep": {"seeds": [1], "variants": variants}}
    assert [made.stops_by for _, made in Scenario.parse(table).runs()] == ["global", "own"]


def test_a_run_ends_by_personal_accuracy_on_own_validation_data(tmp_path: Path) -> None:
    made = experiment(
        DATA, rounds=3, evaluation__judged="personal", evaluation__personal_every=1, stop={"target": 0.05}
    )
    summary, directory, _ = run(made, tmp_path / "run")
    assert summary["stopped"]["detail"].startswith("personal validation accuracy 0.")
    assert directory.rows("rounds")[-1]["personal_validation_accuracy"] >= 0.05


def test_what_a_run_is_judged_by_is_measured_on_validation_data_as_well(tmp_path: Path) -> None:
    """A search of settings goes by it."""
    made = experiment(DATA, rounds=1, evaluation__judged="personal", evaluation__personal_every=1)
    _, directory, _ = run(made, tmp_path / "run")
    assert 0 < directory.rows("rounds")[-1]["personal_validation_accuracy"] <= 1


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "personal of own models": (
        DITTO,
        {"evaluation__judged": "personal", "evaluation__personal_every": 1},
        'evaluation.judged: received "personal", but devices of all run models of their clients\' own, which the '
        'server never sees and cannot train on; set evaluation.judged = "own".',
    ),
    "personal unmeasured": (
        DATA,
        {"evaluation__judged": "personal"},
        'evaluation.judged: received "personal", but evaluation.personal_every is 0, so that it is never measured; set '
        "personal_every = 1, or another number of rounds.",
    ),
    "ended by personal unmeasured": (
        DATA,
        {"stop": {"by": "personal", "target": 0.5}},
        'stop.by: received "personal", but evaluation.personal_every is 0',
    ),
    "no validation examples": (
        {**DITTO, "data": {**DITTO["data"], "validation": 0.0}},
        {"evaluation__judged": "own", "stop": {"target": 0.5}},
        "stop: patience and target need validation data, but data.validation is 0.",
    ),
    "tested too seldom": (
        {**DITTO, "server": {"strategy": "ditto", "cohort": 0.5}},
        {"evaluation__judged": "own", "evaluation__own_every": 2},
        "evaluation.own_every: received 2, but clients of all keep models that they alone can test, and with "
        "server.cohort = 0.5 those that train between tests would be left out; set own_every = 1.",
    ),
    "tested too seldom, whatever it is judged by": (
        {**DITTO, "server": {"strategy": "ditto", "cohort": 0.5}},
        {"evaluation__own_every": 2},
        "evaluation.own_every: received 2, but clients of all keep models that they alone can test, and with "
        "server.cohort = 0.5 those",
    ),
    "of devices that may be gone": (
        {**DITTO, "groups": [{**DITTO["groups"][0], "device": "phone-low"}]},
        {"evaluation__own_every": 2},
        "evaluation.own_every: received 2, but clients of all keep models that they alone can test, and with devices "
        "of all that drop out or are late those",
    ),
    "no such figure": (
        DATA,
        {"evaluation__judged": "onw"},
        "evaluation.judged: unknown value 'onw'. Did you mean 'own'?",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_judged_is_refused_before_the_run(case: str) -> None:
    table, overrides, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        experiment(table, **overrides).check_models()
    assert caught.value.problems[0].startswith(message)


def test_a_client_that_keeps_a_model_unknown_to_the_strategy_is_said(tmp_path: Path) -> None:
    """By its class before the run; or, if that says nothing, after the first round in which it returns one, once."""
    said = (
        "groups.all: client 'saying' keeps a model of its own, of which strategy 'fedavg' knows nothing: as "
        'deployed the global model is scored. To judge by the clients\' models, set evaluation.judged = "own".'
    )
    assert said in experiment(headed("saying")).warnings
    assert said not in experiment(headed("saying"), evaluation__judged="own").warnings
    both = said.replace("as deployed", "as deployed and as personal")
    assert both in experiment(headed("saying"), evaluation__personal_every=1).warnings
    unsaid = experiment(headed("headed"), rounds=2)
    assert not any("keeps a model" in text for text in unsaid.warnings)
    _, directory, _ = run(unsaid, tmp_path / "run")
    told = [[text for text in row["events"] if "keeps a model" in text] for row in directory.rows("rounds")]
    unsaid_yet = " and keeps_model = True in the client's class."
    assert told == [[said.replace("saying", "headed").removesuffix(".") + unsaid_yet], []]


def test_a_run_can_be_judged_by_models_that_the_strategy_does_not_know(tmp_path: Path) -> None:
    """Which have other classifiers: other accuracies than the global model's on the same examples."""
    made = experiment(headed("saying"), rounds=1, evaluation__judged="own")
    made.check_models()
    summary, directory, _ = run(made, tmp_path / "run")
    own = [row["accuracy"] for row in directory.rows("clients")]
    assert summary["own"]["mean"] == pytest.approx(np.mean(own))
    assert directory.read_json("federation.json")["own"] == own
    assert summary["own"] != summary["clients"]


def test_where_no_client_keeps_a_model_own_is_what_devices_run(tmp_path: Path) -> None:
    """So that a plain federation is compared, by one figure, with one whose clients keep models."""
    made = experiment({**DATA, **PRUNING}, rounds=2, evaluation__judged="own", stop={"target": 0.99})
    made.check_models()
    text = (
        "evaluation.judged: under strategy 'fedavg' no client keeps a model of its own, so that own is the accuracy of "
        "what its device runs, on its own distribution. A class of clients that return one as Result.model says "
        "keeps_model = True."
    )
    assert text in made.warnings
    assert text.replace("evaluation.judged", "stop.by") in experiment(DATA, stop={"by": "own", "target": 0.5}).warnings
    summary, directory, _ = run(made, tmp_path / "run")
    assert summary["own"] == summary["clients"]
    for row in directory.rows("rounds"):
        assert 0 < row["own_worst10"] <= row["own_accuracy"] < 1 and 0 < row["own_validation_accuracy"] < 1
    plain, _, _ = run(experiment({**DATA, **PRUNING}, rounds=2), tmp_path / "plain")
    assert (plain["model_digest"], plain["clients"]) == (summary["model_digest"], summary["clients"])


def test_that_only_some_clients_keep_models_is_said() -> None:
    text = (
        "evaluation.judged: clients of keeping alone keep models of their own; the run is judged by these, and says "
        "nothing of the others."
    )
    groups = [{"name": "keeping", "client": "saying"}, {"name": "plain", "client": "sgd"}]
    mixed = {**DATA, "groups": [{**group, "share": 0.5, "model": "mini-cnn"} for group in groups]}
    assert text in experiment(mixed, evaluation__judged="own").warnings
    assert not any("alone keep" in said for said in experiment(headed("saying"), evaluation__judged="own").warnings)


def test_that_early_stop_goes_by_another_figure_is_said() -> None:
    text = (
        "stop: goes by the global model, which is tested in each round, though the run is judged by what devices run; "
        'to go by that, set stop.by = "deployed".'
    )
    pruning = {**DATA, **PRUNING}
    assert text in experiment(pruning, stop={"target": 0.5}).warnings
    assert text not in experiment(pruning, stop={"target": 0.5}, evaluation__judged="global").warnings
    assert text not in experiment(pruning, stop={"target": 0.5, "by": "global"}).warnings
    assert text not in experiment(pruning, stop={"bytes": 10}).warnings
    assert text not in experiment(DATA, stop={"target": 0.5}).warnings


def test_runs_of_other_versions_are_judged_by_what_devices_run() -> None:
    assert judged_name({}) == judged_name({"evaluation": {"judged": "of tomorrow"}}) == "deployed"

"""Scores: what is a part of a mean, and what is none."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedcompress.compression import masks as masking
from fedcompress.data.federated import Examples
from fedcompress.errors import RunError
from fedcompress.evaluation import Evaluator, bench
from fedcompress.evaluation.own_models import figure, of_clients
from fedcompress.evaluation.personal import personal_model
from fedcompress.evaluation.schedule import BATCHED, Schedule, deployed_models, share_of_round
from fedcompress.experiment import Experiment
from fedcompress.federation import RoundRecord
from fedcompress.guard import Guard
from fedcompress.models.cost import multiply_adds
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Recorder
from fedcompress.strategy import State
from fedcompress.training.trainer import evaluate, predict
from federating import PRUNING, experiment, federation, run

DIGITS: dict[str, Any] = {
    **PRUNING,
    "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"},
    "training": {"learning_rate": 0.01},
}
"""Two dense clients and two at sparsity 0.8."""


def of_group(directory: RunDirectory, name: str) -> dict[str, Any]:
    """Returns the figures of a group in the last round."""
    return dict(directory.rows("rounds")[-1]["groups"][name])


def final_state(directory: RunDirectory) -> State:
    return Checkpoints(directory).load().state


def row(accuracy: float | None, validation: float | None = 0.5) -> dict[str, Any]:
    return {"test_accuracy": accuracy, "test_loss": 1.0, "validation_accuracy": validation}


def test_own_models_that_were_not_tested_are_no_part_of_the_mean() -> None:
    group: Any = SimpleNamespace(clients=(0, 1, 2, 3))
    assert of_clients(group, {0: row(0.2), 1: row(0.4), 2: row(None), 3: {"status": "ok"}}) == pytest.approx(
        (0.3, 1, 0.5)
    )
    assert of_clients(group, {0: row(0.2), 1: row(nan)})[0] == 0.2
    accuracy, loss, validation = of_clients(group, {0: row(0.2, None)})  # read from disk: null without validation data
    assert (accuracy, loss, np.isnan(validation)) == (0.2, 1.0, True)
    assert np.isnan(of_clients(group, {})).all()


def test_own_models_count_in_rounds_in_which_they_are_tested(tmp_path: Path) -> None:
    """Of a client whose test fails, the test before stays; between tests there is no figure that could end a run."""
    table = {"data": {"dataset": "digits", "clients": 2}, "server": {"strategy": "local"}}
    made = experiment(table, rounds=4, evaluation__own_every=2)
    recorder = Recorder(made, RunDirectory(tmp_path), "inline")
    tested: Any = {"client": 0, "status": "ok", "sparsity": 0.0, **row(0.2)}
    recorder.note(RoundRecord([tested]))
    recorder.note(RoundRecord([{**tested, **dict.fromkeys(row(0.2)), "sparsity": 0.5}]))
    assert recorder.latest[0]["sparsity"] == 0.5
    assert recorder.tested == {0: tested}
    evaluator = Evaluator(made, Guard("local"))
    state = made.server.initial(federation(made))
    found = [evaluator.score(state, recorder.tested, number) for number in (1, 2, 3, 4)]
    assert [(one.accuracy, one.deployed) for one in found[1::2]] == [(0.2, 0.2)] * 2
    assert all(np.isnan([one.accuracy, one.deployed]).all() for one in found[::2])


def test_an_accuracy_of_zero_is_an_accuracy() -> None:
    assert figure({"accuracy": 0.0}, "accuracy") == 0.0
    assert np.isnan(figure({"accuracy": None}, "accuracy"))


def test_of_no_inputs_there_are_no_logits() -> None:
    spec = experiment({"data": {"dataset": "digits", "clients": 2}}).models["mini-cnn"]
    none = np.zeros((0, 8, 8, 1), np.uint8)
    assert predict(spec, spec.template, none).shape == (0, 10)
    assert predict(spec, spec.template, none, features=True).shape[0] == 0


@pytest.mark.parametrize("value", [1e30, 3e38, np.inf, np.nan])
def test_a_model_whose_loss_is_not_finite_has_no_accuracy(value: float) -> None:
    """All its logits are alike, so that it would be right for every example of the first class."""
    model = experiment({"data": {"dataset": "digits", "clients": 2}}).models["mini-cnn"]
    weights = [np.full_like(array, value) for array in model.template]
    examples = Examples(np.full((4, 8, 8, 1), 200, np.uint8), np.array([0, 0, 0, 1], np.int32))
    found = evaluate(model, weights, examples)
    assert np.isnan(found.loss)
    assert np.isnan(found.accuracy)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, dict[str, Any], RunDirectory]:
    made = experiment(DIGITS, evaluation={"tflite": False, "deployed_every": 2, "personal_every": 2})
    summary, directory, _ = run(made, tmp_path_factory.mktemp("evaluation") / "run")
    return made, summary, directory


def test_the_deployed_accuracy_of_a_group_is_that_of_its_clients_masked_models(
    ran: tuple[Experiment, dict[str, Any], RunDirectory],
) -> None:
    """Worked out from the last state: the global weights under each client's mask, on test set and validation."""
    made, summary, directory = ran
    state = final_state(directory)
    for name, group in made.groups.items():
        found = []
        for partition in group.clients:
            weights, bits = made.server.global_model(state, group), state["masks"][str(partition)]
            shapes = [group.model.template[i].shape for i in group.model.prunable]
            if bits.size:
                weights = masking.apply(weights or [], masking.unpack(bits, shapes), group.model.prunable)
            examples = made.data.test_examples, made.data.server_validation_examples
            found.append([evaluate(group.model, weights or [], part).accuracy for part in examples])
        test, validation = np.mean(found, axis=0)
        assert of_group(directory, name)["deployed_accuracy"] == test
        assert of_group(directory, name)["deployed_validation_accuracy"] == validation
        assert summary["groups"][name]["deployed_accuracy"] == test
    row = directory.rows("rounds")[-1]
    both = [of_group(directory, name)["deployed_accuracy"] for name in made.groups]
    assert both[0] == row["accuracy"] != both[1]  # a dense client runs the global model
    assert row["deployed_accuracy"] == summary["deployed_accuracy"] == np.mean(both)
    assert row["deployed_worst"] == summary["deployed_worst"] == min(both)


def test_the_rounds_in_which_it_is_tested(ran: tuple[Experiment, dict[str, Any], RunDirectory]) -> None:
    """Every second one and the last, of three; in the others there is no figure, and no old one."""
    _, summary, directory = ran
    rows = directory.rows("rounds")
    assert summary["deployed_rounds"] == [2, 3]
    assert [row["deployed_accuracy"] is None for row in rows] == [True, False, False]
    assert [row["groups"]["pruned"]["deployed_accuracy"] is None for row in rows] == [True, False, False]
    assert [row["personal_accuracy"] is None for row in rows] == [True, False, False]
    assert all(row["groups"]["pruned"]["accuracy"] == row["accuracy"] for row in rows)
    chosen = max(rows[1:], key=lambda row: (row["deployed_validation_accuracy"], row["round"]))
    assert summary["deployed_best_accuracy"] == chosen["deployed_accuracy"]


def test_personal_accuracy_is_after_an_epoch_under_the_mask(
    ran: tuple[Experiment, dict[str, Any], RunDirectory],
) -> None:
    """On each client's own distribution; what the mask leaves out stays zero, and the rest is trained."""
    made, summary, directory = ran
    state, accuracies = final_state(directory), []
    for client in made.clients:
        spec, start = made.groups[client.group].model, made.server.deployed(state, client) or []
        trained = personal_model(made, client, spec, start, 3)
        assert all((new[old == 0] == 0).all() for new, old in zip(trained, start, strict=True) if old.ndim > 1)
        assert (trained[-1] != start[-1]).any()
        accuracies.append(evaluate(spec, trained, made.data.test(client.partition)).accuracy)
    assert summary["personal"]["mean"] == pytest.approx(np.mean(accuracies))
    assert summary["personal"]["worst10"] == min(accuracies)
    assert directory.read_json("federation.json")["personal"] == accuracies
    pruned = [accuracies[partition] for partition in made.groups["pruned"].clients]
    assert of_group(directory, "pruned")["personal_accuracy"] == pytest.approx(np.mean(pruned))
    assert summary["groups"]["pruned"]["personal_worst10"] == min(pruned)


def test_what_is_measured_changes_no_result(
    ran: tuple[Experiment, dict[str, Any], RunDirectory], tmp_path: Path
) -> None:
    _, measured, directory = ran
    plain, other, _ = run(experiment(DIGITS, evaluation={"tflite": False}), tmp_path / "run")
    same = ("model_digest", "accuracy", "uplink_bytes", "downlink_bytes", "clients", "deployed_accuracy")
    assert {key: plain[key] for key in same} == {key: measured[key] for key in same}
    assert directory.rows("ledger") == other.rows("ledger")
    assert "personal" not in plain
    assert "personal_accuracy" not in other.rows("rounds")[-1]


def test_two_workers_measure_the_same(ran: tuple[Experiment, dict[str, Any], RunDirectory], tmp_path: Path) -> None:
    made, summary, directory = ran
    again, other, _ = run(made, tmp_path / "run", workers=2)
    for one, two in zip(directory.rows("rounds"), other.rows("rounds"), strict=True):
        assert {**one, "seconds": 0, "graph_seconds": 0} == {**two, "seconds": 0, "graph_seconds": 0}
    assert again["personal"] == summary["personal"]


def test_a_run_that_stops_early_is_measured_in_its_last_round(tmp_path: Path) -> None:
    table = {**DIGITS, "stop": {"bytes": 1}, "evaluation": {"tflite": False, "deployed_every": 5, "personal_every": 5}}
    summary, directory, _ = run(experiment(table), tmp_path / "run")
    (row,) = directory.rows("rounds")
    assert summary["deployed_rounds"] == [1]
    assert row["deployed_accuracy"] == summary["deployed_accuracy"] > 0
    assert row["personal_accuracy"] == summary["personal"]["mean"] > 0


OWN: dict[str, dict[str, Any]] = {
    "distilling": {"strategy": "dsfl"},
    "fedpkdg": {"strategy": "fedpkdg", "params": {"teacher": "predictions"}},
}


@pytest.mark.parametrize("client", OWN)
def test_a_sparse_client_that_never_gets_the_servers_model_is_shown_its_own(client: str, tmp_path: Path) -> None:
    """Its own is tested by itself; the mean over the group's clients is what devices of the group come to."""
    table = {
        **DIGITS,
        "groups": [{**group, "client": client} for group in DIGITS["groups"]],
        "public": {"source": "holdout", "examples": 60},
        "server": OWN[client],
    }
    made = experiment(table, rounds=2, evaluation__personal_every=1)
    summary, directory, _ = run(made, tmp_path / "run")
    latest = {row["client"]: row for row in directory.rows("clients") if row.get("test_accuracy") is not None}
    own = np.mean([latest[partition]["test_accuracy"] for partition in made.groups["pruned"].clients])
    assert of_group(directory, "pruned")["deployed_accuracy"] == own
    assert all(latest[partition]["sparsity"] > 0.5 for partition in made.groups["pruned"].clients)
    assert summary["groups"]["pruned"]["personal_accuracy"] is None  # its weights are not at hand


def test_a_sparse_group_of_the_centralised_bound_has_no_figure(tmp_path: Path) -> None:
    summary, directory, _ = run(
        experiment(DIGITS, server__strategy="centralized", evaluation__deployed_every=1), tmp_path / "run"
    )
    row = directory.rows("rounds")[-1]
    assert of_group(directory, "dense")["deployed_accuracy"] == row["accuracy"]
    assert of_group(directory, "pruned")["deployed_accuracy"] is None
    assert row["deployed_accuracy"] is None
    assert np.isnan(summary["deployed_worst"])


def test_a_pruned_client_that_has_not_taken_part_deploys_nothing_yet(tmp_path: Path) -> None:
    """Two of four clients take part in the only round; the server knows no mask of the others."""
    made = experiment(DIGITS, rounds=1, server__cohort=0.5)
    _, directory, _ = run(made, tmp_path / "run")
    state = final_state(directory)
    for client in made.clients:
        deployed = made.server.deployed(state, client)
        assert (deployed is None) == (client.group == "pruned" and str(client.partition) not in state["masks"])


@pytest.mark.filterwarnings("error")
def test_a_client_without_test_examples_has_no_accuracy() -> None:
    made = experiment({"data": {"dataset": "digits", "clients": 2}})
    dataset = made.data.dataset
    labels, tested = dataset.y_train, dataset.y_test > 0
    data = replace(
        made.data,
        dataset=replace(dataset, x_test=dataset.x_test[tested], y_test=dataset.y_test[tested]),
        train_parts=(np.flatnonzero(labels == 0), np.flatnonzero(labels > 0)),
    )
    made = replace(made, data=data)
    spec = made.models["mini-cnn"]
    state = {"weights": {"mini-cnn": spec.initial(np.random.default_rng(0))}, "masks": {}}
    first, second = Evaluator(made, Guard("fedavg")).clients(state, {})
    assert (np.isnan(first), 0 <= second <= 1) == (True, True)


def test_the_same_weights_are_run_over_the_test_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two global models of a round are one; in the next round nothing has changed."""
    made, calls = experiment(DIGITS, evaluation__deployed_every=1), []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return evaluate(*arguments)

    monkeypatch.setattr(bench, "evaluate", counted)
    spec = made.models["mini-cnn"]
    state = {"weights": {"mini-cnn": spec.initial(np.random.default_rng(0))}, "masks": {}}
    evaluator = Evaluator(made, Guard("fedavg"))
    for number in (1, 2):
        evaluator.check(state, number)
        evaluator.score(state, {}, number)
    assert len(calls) == 2  # test set and validation


def test_what_a_device_runs_has_to_be_finite() -> None:
    made = experiment(DIGITS, evaluation__deployed_every=1)
    spec = made.models["mini-cnn"]
    weights = spec.initial(np.random.default_rng(0))
    made.server.deployed = lambda state, client: [*weights[:-1], np.full_like(weights[-1], np.inf)]  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"^round 7: what client \d of group 'dense' deploys \(mini-cnn\) is not finite"):
        Evaluator(made, Guard("fedavg")).check({"weights": {"mini-cnn": weights}, "masks": {}}, 7)


def test_what_testing_deployed_models_costs() -> None:
    """By hand: two clients with masks of their own, over test set and validation, as a part of these tests, that of the
    global model, and training of three passes for an example and epoch, with a fifth of it for the rest of a round."""
    made = experiment(DIGITS, training__epochs=2)
    examples = sum(len(part) for part in made.data.train_parts)
    tested = len(made.data.test_examples) + len(made.data.server_validation)
    assert [deployed_models(made, group) for group in made.groups.values()] == [0, 2]
    test, training = tested * BATCHED, 3 * 2 * examples
    assert share_of_round(made) == pytest.approx(2 * test / (2 * test + test + 1.2 * training))
    half = experiment(DIGITS, training__epochs=2, server__cohort=0.5)
    assert share_of_round(half) == pytest.approx(2 * test / (2 * test + test + 1.2 * training / 2))
    tiers = {"server": {"params": {"tiers": "kd"}}, "public": {"source": "holdout", "examples": 60}}
    made = experiment({**DIGITS, **tiers, "groups": [{**group, "client": "distilling"} for group in DIGITS["groups"]]})
    assert [deployed_models(made, group) for group in made.groups.values()] == [0, 1]  # a group has one model
    dense = experiment({**DIGITS, "groups": [{"name": "all", "model": "mini-cnn"}]})
    assert share_of_round(dense) == 0
    assert share_of_round(experiment({**DIGITS, "server": {"strategy": "local"}})) == 0  # clients test their own models


def test_models_count_by_their_multiply_adds() -> None:
    groups = [DIGITS["groups"][0], {**DIGITS["groups"][1], "model": "small-cnn"}]
    made = experiment({**DIGITS, "groups": groups})
    cost = {name: multiply_adds(model.build()) for name, model in made.models.items()}
    trained = sum(len(made.data.train_parts[c.partition]) * cost[c.model] for c in made.clients)
    tested = len(made.data.test_examples) + len(made.data.server_validation)
    test = tested * BATCHED
    whole = 2 * test * cost["small-cnn"] + test * sum(cost.values()) + 1.2 * 3 * trained
    assert share_of_round(made) == pytest.approx(2 * test * cost["small-cnn"] / whole)


@pytest.mark.parametrize(("examples", "rounds"), [(400, [5, 7]), (1400, [1, 2, 3, 4, 5, 6, 7])])
def test_deployed_models_are_tested_in_every_round_if_that_is_cheap(examples: int, rounds: list[int]) -> None:
    schedule = Schedule(experiment(DIGITS, rounds=7, training__epochs=2, data__examples=examples))
    assert [number for number in range(1, 8) if schedule.deployed(number)] == rounds
    assert not any(schedule.personal(number) for number in range(1, 8))


def test_what_is_asked_for_is_measured() -> None:
    schedule = Schedule(experiment(DIGITS, rounds=7, evaluation={"deployed_every": 3, "personal_every": 4}))
    assert [number for number in range(1, 8) if schedule.deployed(number)] == [3, 6, 7]
    assert [number for number in range(1, 8) if schedule.personal(number)] == [4, 7]
    assert [number for number in range(1, 8) if schedule.complete(number)] == [7]


def test_that_own_models_have_no_personal_accuracy_is_said_before_the_run() -> None:
    table = {
        **DIGITS,
        "groups": [{**group, "client": "distilling"} for group in DIGITS["groups"]],
        "public": {"source": "holdout", "examples": 64},
        "server": {"strategy": "dsfl"},
    }
    said = (
        "evaluation.personal_every: devices of dense, pruned run models of their clients' own, which the server never "
        "sees; they have no personal accuracy."
    )
    assert said in experiment(table, evaluation__personal_every=1).warnings
    assert said not in experiment(table).warnings
    tiers = {**table, "server": {"strategy": "dsfl", "params": {"tiers": "kd"}}}
    later = said.replace("accuracy.", "accuracy before they have a tier.")
    assert later in experiment(tiers, evaluation__personal_every=1).warnings

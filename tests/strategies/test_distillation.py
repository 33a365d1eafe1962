"""Strategies that exchange knowledge: what they need, what they send, and that every engine thread agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.distillation.ensemble import mean_logits, softmax
from fedcompress.distillation.projector import head_reused, projected
from fedcompress.distillation.round import PublicRound, consensus
from fedcompress.errors import InputError
from fedcompress.evaluation import Evaluator
from fedcompress.guard import Guard
from fedcompress.training.trainer import predict
from federating import experiment, federation, run

TABLE: dict[str, Any] = {"rounds": 2, "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"}}
PUBLIC = {"source": "holdout", "examples": 300}
DENSE = {"name": "dense", "share": 0.5, "model": "mini-cnn"}
PRUNED = {
    "name": "pruned",
    "share": 0.5,
    "model": "mini-cnn",
    "compression": "magnitude",
    "sparsity": 0.8,
    "compression_params": {"begin_round": 0, "end_round": 1},
}
CLIENT = {"feddf": "distilling", "fedmd": "distilling", "dsfl": "distilling", "fedsimkd": "simkd", "fedpkdg": "fedpkdg"}

SHORT: dict[str, dict[str, Any]] = {
    "feddf": {
        "block_steps": 0,
        "blocks": 4,
        "patience": 1,
        "schedule": "constant",
        "keep": "best",
        "drop_chance": True,
    },
    "fedmd": {"pretraining": False},
}
"""Instead of the published settings, which take a thousand steps a round."""


def made(strategy: str, public: dict[str, Any] | None = None, **more: Any) -> Any:
    groups = [{**group, "client": CLIENT[strategy]} for group in (DENSE, PRUNED)]
    server: dict[str, Any] = {"strategy": strategy, **more.pop("server", {})}
    server["params"] = {**SHORT.get(strategy, {}), **server.get("params", {})}
    if strategy == "fedsimkd":
        server["model"] = "small-cnn"
    return experiment({**TABLE, "server": server, "groups": groups, "public": {**PUBLIC, **(public or {})}, **more})


def contents(directory: Any, direction: str) -> dict[str, int]:
    rows = [row for row in directory.rows("ledger") if row["direction"] == direction]
    return {name: sum(r["wire_bytes"] for r in rows if r["content"] == name) for name in {r["content"] for r in rows}}


SENT = {
    "feddf": ({"weights", "mask"}, {"weights", "mask"}),
    "fedmd": ({"seed", "logits"}, {"logits"}),
    "dsfl": ({"seed", "logits"}, {"logits"}),
    "fedsimkd": ({"seed", "head", "features"}, {"logits"}),
    "fedpkdg": ({"weights", "mask"}, {"weights", "mask"}),
}


def test_the_same_model_on_two_threads(tmp_path: Path) -> None:
    digests = [run(made("fedsimkd"), tmp_path / str(n), workers=n)[0]["model_digest"] for n in (1, 2)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("strategy", sorted(SENT))
def test_what_crosses_in_two_rounds(strategy: str, tmp_path: Path) -> None:
    summary, directory, grid = run(made(strategy), tmp_path / "run")
    assert summary["status"] == "completed"
    assert not any(row["error"] for row in directory.rows("clients"))
    down, up = (contents(directory, direction) for direction in ("downlink", "uplink"))
    assert down.keys() - {"envelope"} == SENT[strategy][0]
    assert up.keys() - {"envelope"} == SENT[strategy][1]
    assert (sum(down.values()), sum(up.values())) == (grid.handed_over["downlink"], grid.handed_over["uplink"])
    assert summary["groups"]["pruned"]["sparsity"] == pytest.approx(0.8 * pruned_part(strategy), abs=0.01)


def pruned_part(strategy: str) -> float:
    """What of the kernels of a client's model is pruned: of a student, all but the head of the server's model."""
    if strategy != "fedsimkd":
        return 1.0
    setup = made(strategy)
    group = setup.groups["pruned"]
    student = projected(group.model, setup.server_model)
    return 1 - student.dense_share


def test_logits_cost_what_they_are(tmp_path: Path) -> None:
    """300 examples, 10 classes, float16: 6,000 bytes and a header a client and round; models are never sent."""
    scenario = {"wire": {"deflate": False, "weights": "dense", "values": "float16"}}
    _, directory, _ = run(made("fedmd", **scenario), tmp_path / "run")
    rows = [row for row in directory.rows("ledger") if row["content"] == "logits" and row["direction"] == "uplink"]
    assert len(rows) == 2 * 4
    assert {row["wire_bytes"] for row in rows} == {6005}
    assert {row["dense_bytes"] for row in rows} == {12_000}


@pytest.mark.parametrize("strategy", ["feddf", "fedmd", "fedsimkd", "fedpkdg"])
@pytest.mark.parametrize("source", ["gan", "noise"])
def test_other_public_data(strategy: str, source: str, tmp_path: Path) -> None:
    summary, directory, _ = run(made(strategy, {"source": source}), tmp_path / "run")
    assert summary["status"] == "completed"
    assert not any(row["error"] for row in directory.rows("clients"))
    assert any("without differential privacy" in text for text in summary["warnings"]) == (source == "gan")
    sent = contents(directory, "uplink")
    assert ("generator" in sent) == (source == "gan")


def test_a_frozen_generator_is_not_sent_again(tmp_path: Path) -> None:
    table = {"rounds": 4, "wire": {"values": "int8"}, "data": {**TABLE["data"], "clients": 2}}
    _, directory, _ = run(made("fedmd", {"source": "gan", "train_rounds": 2}, **table), tmp_path / "run")
    rows = [row for row in directory.rows("ledger") if row["content"] == "generator"]
    by_round = {number: [r for r in rows if r["round"] == number] for number in range(1, 5)}
    assert {r["direction"] for r in by_round[2]} == {"uplink", "downlink"}
    for number in (3, 4):
        assert {r["direction"] for r in by_round[number]} == {"downlink"}
        assert {r["wire_bytes"] for r in by_round[number]} == {9}
        assert {r["bound_bytes"] for r in by_round[number]} == {0}


def test_a_mixture_draws_from_the_generators_in_turn(tmp_path: Path) -> None:
    scenario = made("feddf", {"source": "gan", "combine": "mixture", "examples": 100})
    fed = federation(scenario)
    public = scenario.server.public
    assert public is not None
    trained = public.train(fed, fed.clients, public.initial())
    assert len(trained["generators"]) == len(fed.clients) == 4
    mixed = PublicRound(scenario.server, fed, [], {"public": trained})
    drawn = mixed.examples
    assert drawn is not None
    assert (len(drawn), np.bincount(drawn.y).min()) == (100, 8)
    same = {**trained, "generators": trained["generators"][:1] * 4}
    one = PublicRound(scenario.server, fed, [], {"public": same}).examples
    assert one is not None
    assert np.array_equal(one.x[:25], drawn.x[:25])
    assert not np.array_equal(one.x[25:], drawn.x[25:])


def test_a_collapsed_generator_is_reported_and_the_round_goes_on(tmp_path: Path) -> None:
    scenario = made("feddf", {"source": "gan"})
    fed = federation(scenario)
    strategy = scenario.server
    state = strategy.initial(fed)
    zeros = [np.zeros_like(array) for array in state["public"]["generator"]]
    public = PublicRound(strategy, fed, [], {"public": {**state["public"], "generator": zeros}})
    assert public.examples is None
    assert public.speakers([]) == []
    assert "the generator has collapsed, this round does not distil" in fed.record.events[0]


def test_a_teacher_at_chance_level_is_dropped_and_reported(tmp_path: Path) -> None:
    scenario = made("feddf", training={"learning_rate": 1e-9, "batch_size": 64}, rounds=1)
    _, directory, _ = run(scenario, tmp_path / "run")
    (row,) = directory.rows("rounds")
    assert any("is at chance level" in event for event in row["events"])


def test_samples_that_the_ensemble_does_not_recognise_are_rejected(tmp_path: Path) -> None:
    _, directory, _ = run(made("fedpkdg", {"source": "gan", "confidence": 0.99}), tmp_path / "run")
    rows = directory.rows("rounds")
    assert all(0.5 < row["rejection_rate"] <= 1.0 for row in rows)  # two rounds make no convincing generator
    assert any("this round does not distil" in event for row in rows for event in row["events"])


def test_predictions_instead_of_models(tmp_path: Path) -> None:
    scenario = made("fedpkdg", server={"params": {"teacher": "predictions"}})
    _, directory, _ = run(scenario, tmp_path / "run")
    sent = contents(directory, "uplink").keys() - {"envelope"}
    assert sent == {"classifier", "classifier mask", "logits"}
    assert not any(row["error"] for row in directory.rows("clients"))


def test_labels_are_the_cheapest_teacher(tmp_path: Path) -> None:
    table = made("dsfl").scenario.table()
    for group in table["groups"]:
        group["params"] = {"teaches": "labels"}
    _, directory, _ = run(experiment(table), tmp_path / "run")
    rows = [row for row in directory.rows("ledger") if row["content"] == "labels"]
    assert rows
    assert max(row["wire_bytes"] for row in rows) < 300  # of 300 labels in 10 classes, deflated


@pytest.mark.parametrize("objective", ["simkd", "head-reuse", "kd"])
@pytest.mark.parametrize("travels", ["features", "model"])
def test_what_goes_down_in_fedsimkd(objective: str, travels: str, tmp_path: Path) -> None:
    params = {"objective": objective, "travels": travels}
    summary, directory, _ = run(made("fedsimkd", server={"params": params}), tmp_path / "run")
    down = contents(directory, "downlink").keys() - {"envelope", "seed"}
    expected = {"simkd": {"head", "features"}, "head-reuse": {"head", "logits"}, "kd": {"logits"}}[objective]
    assert down == ({"teacher"} if (objective, travels) == ("simkd", "model") else expected)
    assert not any(row["error"] for row in directory.rows("clients"))
    assert 0 < summary["server_accuracy"] <= 1


def test_a_student_is_measured_with_its_projector_and_the_head_that_it_reuses(tmp_path: Path) -> None:
    setup = made("fedsimkd")
    summary, directory, _ = run(setup, tmp_path / "run")
    student = projected(setup.groups["pruned"].model, setup.server_model)
    for row in directory.rows("clients"):
        plain = setup.groups[row["group"]].model.parameters
        assert row["parameters"] == (student.parameters if row["round"] == 2 else plain)
    assert summary["groups"]["pruned"]["parameters"] == student.parameters
    assert student.parameters > setup.groups["pruned"].model.parameters


@pytest.mark.parametrize("objective", ["simkd", "head-reuse", "kd"])
def test_a_head_that_stays_dense_is_said_before_the_run(objective: str) -> None:
    """What no compression prunes is the head of small-cnn, of all the kernels that a student has."""
    setup = made("fedsimkd", server={"params": {"objective": objective}})
    reuse = head_reused if objective == "head-reuse" else projected
    student = reuse(setup.groups["pruned"].model, setup.server_model)
    said = (
        f"groups.pruned: layers stay dense: {student.dense_text}; a sparsity of 0.8 of the others is one of "
        f"{0.8 * (1 - student.dense_share):.3g} of the model."
    )
    assert student.dense_text.startswith("head: ")
    assert setup.warnings == ([] if objective == "kd" else [said])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"public": None}, "public: is missing; strategy 'feddf' distils on public data"),
        ({"public": {"source": "gan"}, "client": "sgd"}, "'feddf' needs the action train_generator"),
        ({"strategy": "fedsimkd", "client": "simkd"}, "server.model: is missing; strategy 'fedsimkd'"),
        (
            {"strategy": "fedmd", "client": "distilling", "public": {"source": "gan", "combine": "mixture"}},
            "public.combine: with strategy 'fedmd' clients draw samples too",
        ),
    ],
)
def test_what_is_missing_is_said_before_the_run(changes: dict[str, Any], said: str) -> None:
    public = changes.get("public", PUBLIC)
    table = {
        "server": {"strategy": changes.get("strategy", "feddf")},
        "groups": [{"model": "mini-cnn", "client": changes.get("client", "sgd")}],
        **({"public": public} if public else {}),
    }
    with pytest.raises(InputError, match=said):
        experiment(table)


@pytest.mark.parametrize("equal", [True, False])
def test_the_ensemble_that_is_tested_is_the_one_that_teaches(equal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server's own teacher: what students were given, from the uploads and voices that the state keeps."""
    taught: list[tuple[Any, Any]] = []

    def spy(trainer: Any, weights: Any, examples: Any, logits: Any, *rest: Any) -> Any:
        taught.append((examples.x, logits))
        return weights

    monkeypatch.setattr("strategies.feddf.distil", spy)
    skewed = {"dataset": "digits", "clients": 4, "partition": "dirichlet", "alpha": 0.1}
    public = {"source": "holdout", "examples": 300}
    setup = made("feddf", public, data=skewed, server={"params": {"equal": equal, "drop_chance": False}})
    fed = federation(setup)
    state = setup.server.round(fed, setup.server.initial(fed))
    teachers = setup.server.teachers(state)
    sizes = [float(client.examples) for client in setup.clients]
    assert max(sizes) > 2 * min(sizes)
    assert [voice for *_, voice in teachers] == ([1.0] * 4 if equal else sizes)
    x, logits = taught[0]
    said = [predict(spec, weights, x) for spec, weights, _ in teachers]
    np.testing.assert_allclose(mean_logits(said, [voice for *_, voice in teachers]), logits, rtol=1e-4, atol=1e-5)
    # What is reported is of the same voices.
    test = setup.data.test_examples
    said = [predict(spec, weights, test.x) for spec, weights, _ in teachers]
    by = {alike: mean_logits(said, [1.0] * 4 if alike else sizes).argmax(axis=1) for alike in (True, False)}
    assert (by[True] != by[False]).any()
    expected = float((by[equal] == test.y).mean())
    assert Evaluator(setup, Guard("feddf")).extras(state)["ensemble_accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("reduction", ["era", "enhanced"])
def test_dsfl_teaches_by_the_reduction_that_was_asked_for(reduction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """T = 0.1: p / T, or log p / T, of the clients' mean probabilities p."""
    seen: dict[str, Any] = {}

    def spied(*arguments: Any, **more: Any) -> Any:
        seen["mean"] = consensus(*arguments, **more)
        return seen["mean"]

    def spy(trainer: Any, weights: Any, examples: Any, logits: Any, *rest: Any) -> Any:
        seen["logits"] = logits
        return weights

    monkeypatch.setattr("fedcompress.distillation.round.consensus", spied)
    monkeypatch.setattr("strategies.dsfl.distil", spy)
    setup = made("dsfl", server={"params": {"reduction": reduction}})
    fed = federation(setup)
    setup.server.round(fed, setup.server.initial(fed))
    p = np.exp(seen["mean"])
    assert p.sum(axis=1) == pytest.approx(np.ones(len(p)), abs=1e-3)
    expected = p / 0.1 if reduction == "era" else np.log(p) / 0.1
    np.testing.assert_allclose(softmax(seen["logits"]), softmax(expected), atol=2e-3)
    assert (seen["logits"].min() >= 0) == (reduction == "era")


def test_the_papers_reduction_is_the_default() -> None:
    params = made("dsfl").server.params
    assert (params.reduction, params.sharpening) == ("era", 0.1)

"""The ensemble's rule in every strategy that has one: what it asks clients for, what it tells, and what is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.distillation.ensemble import EnsembleParams, Voice, combined
from fedcompress.errors import InputError
from fedcompress.evaluation import Evaluator
from fedcompress.guard import Guard
from fedcompress.training.trainer import predict
from federating import experiment, federation, run

QUICK = {"blocks": 1, "epochs": 1}
STRATEGIES: dict[str, dict[str, Any]] = {
    "feddf": {"client": "distilling", "params": {**QUICK, "block_steps": 2}},
    "fedmd": {"client": "distilling", "params": {"pretraining": False}},
    "dsfl": {"client": "distilling", "params": QUICK},
    "fedsimkd": {"client": "simkd", "params": QUICK},
    "fedpkdg": {"client": "fedpkdg", "params": QUICK},
}
RULES = ("mean_logits", "mean_probabilities", "class_counts", "sharpened")
TELLS = (
    'server.params.ensemble = "class_counts": each client sends, once, how many examples of each class it trains on; '
    "that tells the server what the client holds."
)


def made(strategy: str, rule: str | None = None, **overrides: Any) -> Any:
    chosen = STRATEGIES[strategy]
    params = chosen["params"] | ({} if rule is None else {"ensemble": rule})
    table = {
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet", "alpha": 0.1},
        "public": {"source": "holdout", "examples": 100},
        "server": {"strategy": strategy, "params": params} | ({"model": "mini-cnn"} if strategy == "fedsimkd" else {}),
        "groups": [{"name": "all", "model": "mini-cnn", "client": chosen["client"]}],
    }
    return experiment(table, **overrides)


def counts_sent(directory: Any) -> list[dict[str, Any]]:
    return [row for row in directory.rows("ledger") if row["content"] == "label counts"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_published_rules_are_the_defaults(strategy: str) -> None:
    assert made(strategy).server.params.ensemble == ("mean_probabilities" if strategy == "dsfl" else "mean_logits")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_class_counts_are_sent_once_and_counted(strategy: str, tmp_path: Path) -> None:
    setup = made(strategy, "class_counts")
    assert setup.warnings == [TELLS]
    summary, directory, _ = run(setup, tmp_path / "run")
    assert summary["status"] == "completed"
    assert not any(row["error"] for row in directory.rows("clients"))
    sent = counts_sent(directory)
    assert [(row["round"], row["client"], row["direction"]) for row in sent] == [(1, c, "uplink") for c in range(4)]
    assert {row["dense_bytes"] for row in sent} == {40}  # of 10 classes, 4 bytes each
    assert max(row["wire_bytes"] for row in sent) <= 45


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "class_counts"])
def test_no_other_rule_asks_what_clients_hold(rule: str, tmp_path: Path) -> None:
    setup = made("dsfl", rule)
    assert setup.warnings == []
    assert counts_sent(run(setup, tmp_path / "run")[1]) == []


def test_own_models_are_tested_once_in_a_round(tmp_path: Path) -> None:
    """After the last action; where it is not sure that one follows, as where clients cannot be weighed, after each."""
    for rule, tested in (("mean_logits", {"digest"}), ("class_counts", {"teach", "digest"})):
        _, directory, _ = run(made("dsfl", rule), tmp_path / rule)
        rows = directory.rows("clients")
        assert {row["action"] for row in rows if row.get("test_accuracy") is not None} == tested


def test_a_client_that_is_drawn_later_sends_its_counts_then(tmp_path: Path) -> None:
    setup = made("feddf", "class_counts", rounds=4, server__cohort=0.5)
    _, directory, _ = run(setup, tmp_path / "run")
    first: dict[int, int] = {}
    for row in directory.rows("clients"):
        first.setdefault(row["client"], row["round"])
    assert len(set(first.values())) > 1
    assert {row["client"]: row["round"] for row in counts_sent(directory)} == first


def test_the_server_learns_the_labels_that_a_client_trains_on() -> None:
    setup = made("feddf", "class_counts")
    fed = federation(setup)
    state = setup.server.round(fed, setup.server.initial(fed))
    for partition, counts in state["public"]["label counts"].items():
        assert counts.tolist() == np.bincount(setup.data.train(int(partition)).y, minlength=10).tolist()
    assert len(state["public"]["label counts"]) == 4


def test_a_client_that_did_not_say_what_it_holds_is_left_out() -> None:
    """It is asked again in the next round."""
    setup = made("feddf", "class_counts")
    fed = federation(setup)
    state = setup.server.round(fed, setup.server.initial(fed))
    counted = {name: counts for name, counts in state["public"]["label counts"].items() if name != "2"}
    known = {**state, "public": {**state["public"], "label counts": counted}}
    asked: list[str] = []

    def call(action: str, *arguments: Any, **more: Any) -> Any:
        asked.append(action)
        return []

    fed.begin(2)
    fed.call = call  # type: ignore[method-assign]
    state = setup.server.round(fed, known)
    assert asked == ["count_labels"]
    assert len(setup.server.teachers(state)) == 3
    assert "client 2 has not said what it holds, it was left out" in fed.record.events


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_that_teaches_is_the_one_that_is_tested(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taught: list[tuple[Any, Any]] = []

    def spy(trainer: Any, weights: Any, examples: Any, logits: Any, *rest: Any) -> Any:
        taught.append((examples.x, logits))
        return weights

    monkeypatch.setattr("strategies.feddf.distil", spy)
    setup = made("feddf", rule, training__epochs=10)
    fed = federation(setup)
    state = setup.server.round(fed, setup.server.initial(fed))
    x, logits = taught[0]
    teachers = setup.server.teachers(state)
    said = [predict(spec, weights, x) for spec, weights, _ in teachers]
    np.testing.assert_allclose(setup.server.ensemble(state, said), logits, rtol=1e-3, atol=1e-4)
    # By the definition of the rule, from what clients hold.
    voices = [Voice(1.0, np.bincount(setup.data.train(c).y, minlength=10)) for c in range(4)]
    by_rule = {name: combined(EnsembleParams(ensemble=name), said, voices) for name in RULES}  # type: ignore[arg-type]
    np.testing.assert_allclose(by_rule[rule], logits, rtol=1e-3, atol=1e-4)
    assert all(np.abs(by_rule[name] - logits).max() > 0.1 for name in RULES if name != rule)
    # What is reported is of the same rule.
    test = setup.data.test_examples
    said = [predict(spec, weights, test.x) for spec, weights, _ in teachers]
    expected = float((combined(setup.server.params, said, voices).argmax(axis=1) == test.y).mean())
    assert Evaluator(setup, Guard("feddf")).extras(state)["ensemble_accuracy"] == pytest.approx(expected)


def test_a_client_that_cannot_count_is_refused_before_the_run() -> None:
    with pytest.raises(InputError, match=r"^groups.all.client: .* needs the action count_labels, which client 'sgd'"):
        made("feddf", "class_counts", groups__all__client="sgd").check_models()


def test_how_many_steps_taught_is_in_the_row(tmp_path: Path) -> None:
    """Two steps of 100 examples, which any student keeps but the best of all, the start among them."""
    _, directory, _ = run(made("feddf"), tmp_path / "run")
    assert [row["distilled_steps mini-cnn"] for row in directory.rows("rounds")] == [2, 2]


def test_a_student_under_a_mask_goes_on_from_block_to_block(tmp_path: Path) -> None:
    """Three blocks of two steps; what no client keeps is zero throughout."""
    table = {
        "rounds": 1,
        "data": {"dataset": "digits", "clients": 2},
        "public": {"source": "holdout", "examples": 100},
        "server": {
            "strategy": "feddf",
            "params": {"block_steps": 2, "blocks": 3, "patience": 3, "keep": "last"},
        },
        "groups": [
            {
                "model": "mini-cnn",
                "client": "distilling",
                "compression": "magnitude",
                "sparsity": 0.8,
                "compression_params": {"begin_round": 0, "end_round": 1},
            }
        ],
    }
    setup = experiment(table)
    _, directory, _ = run(setup, tmp_path / "run")
    (row,) = directory.rows("rounds")
    assert row["distilled_steps mini-cnn"] == 6
    fed = federation(setup)
    state = setup.server.round(fed, setup.server.initial(fed))
    weights, covered = state["weights"]["mini-cnn"], setup.server.covered(state, "mini-cnn")
    for position, mask in zip(setup.models["mini-cnn"].prunable, covered, strict=True):
        assert not mask.all()
        assert not weights[position][~mask].any()

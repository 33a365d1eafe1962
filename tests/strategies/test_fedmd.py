"""FedMD: how clients begin, when they have converged, and what the published settings ask of the public data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedcompress.errors import InputError, RunError
from fedcompress.training.loop import Trained
from federating import experiment, run

PUBLIC = {"source": "holdout", "examples": 200}
GROUP = {"name": "all", "model": "mini-cnn", "client": "fedmd"}
GONE = {
    "gone": {
        "downlink_bits_per_second": 1e9,
        "uplink_bits_per_second": 1e9,
        "multiply_adds_per_second": 1e12,
        "dropout": 0.999999,
    }
}
PRUNED = {
    "name": "pruned",
    "model": "mini-cnn",
    "client": "fedmd",
    "compression": "magnitude",
    "sparsity": 0.8,
    "compression_params": {"begin_round": 0, "end_round": 1},
}


def made(public: dict[str, Any] = PUBLIC, group: dict[str, Any] = GROUP, **overrides: Any) -> Any:
    table = {
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 3, "partition": "dirichlet"},
        "public": public,
        "server": {"strategy": "fedmd"},
        "groups": [group],
    }
    return experiment(table, **overrides)


@pytest.mark.parametrize("group", [GROUP, PRUNED], ids=["dense", "pruned"])
def test_clients_begin_on_labelled_public_data(group: dict[str, Any], tmp_path: Path) -> None:
    summary, directory, _ = run(made(group=group), tmp_path / "run")
    assert summary["status"] == "completed"
    rows = directory.rows("clients")
    assert [(row["round"], row["action"]) for row in rows] == [
        (number, action)
        for number, actions in ((1, ("pretrain", "study")), (2, ("predict", "study")))
        for action in actions
        for _ in range(3)
    ]
    assert not any(row["error"] for row in rows)
    if group is GROUP:
        assert rows[0]["train_loss"] < 1.5  # 25 passes over its own examples, where one leaves 2.2
    else:
        assert summary["groups"]["pruned"]["sparsity"] == pytest.approx(0.8, abs=0.01)


def test_a_client_that_fails_as_it_begins_costs_its_contribution_alone(tmp_path: Path) -> None:
    """Client 0 is never reached while it begins; in round 2 it begins while the others predict: one call, two of 3."""
    groups = [{**GROUP, "name": "there", "share": 0.667}, {**GROUP, "name": "away", "share": 0.333, "device": "gone"}]
    server = {"strategy": "fedmd", "minimum_replies": 2}
    setup = experiment({**made().scenario.table(), "devices": GONE, "groups": groups, "server": server})
    summary, directory, _ = run(setup, tmp_path / "run")
    assert summary["status"] == "completed"
    (away,) = setup.groups["away"].clients
    rows = directory.rows("clients")
    said = [(row["round"], row["action"], row["status"] == "ok") for row in rows if row["client"] == away]
    assert said == [(1, "pretrain", False), (2, "pretrain", False)]
    assert [(row["round"], row["action"]) for row in rows if row["client"] != away and row["status"] == "ok"] == [
        (number, action)
        for number, first in ((1, "pretrain"), (2, "predict"))
        for action in (first, "study")
        for _ in range(2)
    ]


def test_too_few_in_all_end_the_run(tmp_path: Path) -> None:
    setup = experiment({**made().scenario.table(), "devices": GONE, "groups": [{**GROUP, "device": "gone"}]})
    with pytest.raises(RunError, match=r"round 1, action 'pretrain': 0 good replies of 3, server.minimum_replies is 1"):
        run(setup, tmp_path / "run")


def test_own_models_are_tested_once_in_a_round(tmp_path: Path) -> None:
    _, directory, _ = run(made(), tmp_path / "run")
    rows = directory.rows("clients")
    assert {row["action"] for row in rows if row.get("test_accuracy") is not None} == {"study"}
    assert sum(row.get("test_accuracy") is not None for row in rows) == 2 * 3


def test_published_settings_are_the_defaults() -> None:
    setup = made()
    params = setup.groups["all"].client_params
    assert setup.server.params.pretraining
    assert (params.digests, params.epochs, params.batch_size, params.learning_rate) == ("absolute", 1, 256, 0.001)
    assert (params.public_epochs, params.public_patience, params.public_batch_size) == (20, 3, 128)
    assert (params.own_epochs, params.own_patience, params.own_batch_size) == (25, 10, 32)
    assert (params.revisit_epochs, params.revisit_batch_size) == (4, 5)


@pytest.mark.parametrize(
    ("purpose", "accuracies", "passes"),
    [
        ("public", (0.5, 0.6, 0.6, 0.604, 0.6, 0.9), 5),  # the second is the last gain of more than 0.005
        ("public", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), 6),
        ("own", (0.5, 0.6, 0.6, 0.604, 0.6, 0.9), 6),
        ("own", (0.5, 0.6, 0.6, 0.6005, 0.6, 0.9), 5),  # of more than 0.001
    ],
)
def test_a_client_has_converged_when_passes_bring_nothing(
    purpose: str, accuracies: tuple[float, ...], passes: int
) -> None:
    """With a trainer whose weights are the number of the pass; the last ones count, as in the paper's code."""
    client = made().client(0, 1, "pretrain", {})
    calls: list[dict[str, Any]] = []

    def fit(weights: Any, examples: Any, **settings: Any) -> Trained:
        calls.append(settings)
        return Trained([weights[0] + 1], [], 0.0, 1, [weights[0] + 1])

    def evaluate(weights: Any, examples: Any) -> Any:
        return SimpleNamespace(accuracy=accuracies[int(weights[0]) - 1])

    client.trainer = SimpleNamespace(fit=fit, evaluate=evaluate, round_number=1)
    trained = client._converged(purpose, [np.float32(0)], client.data, client.validation, 6, 3)
    assert int(trained.weights[0]) == passes
    assert [call["continued"] for call in calls] == [False] + [True] * (passes - 1)
    assert {call["batch_size"] for call in calls} == {128 if purpose == "public" else 32}


def test_labels_that_are_used_are_said_before_the_run() -> None:
    used = (
        "server.params.pretraining: the labels of the public examples are used: clients train on them before they "
        "train on their own."
    )
    assert made(training__batch_size=32).warnings == [used]
    assert made(server__params__pretraining=False, groups__all__client="distilling").warnings == []


def test_what_has_no_say_is_said_before_the_run() -> None:
    overrides = {"training__learning_rate": 0.01, "training__batch_size": 64, "server__params__pretraining": False}
    said = [
        "training.learning_rate: 0.01 has no say in groups.all, whose client 'fedmd' goes by params.learning_rate.",
        "training.batch_size: 64 has no say in groups.all, whose client 'fedmd' goes by params.revisit_batch_size.",
    ]
    assert made(**overrides, groups__all__client="distilling").warnings == []
    assert [
        line for line in made(**{**overrides, "server__params__pretraining": True}).warnings if "say" in line
    ] == said


def test_what_has_no_say_for_fedrep_is_said_as_well() -> None:
    groups = [{"name": "all", "model": "mini-cnn", "client": "fedrep"}]
    table = {"data": {"dataset": "digits", "clients": 3}, "server": {"strategy": "fedrep"}, "groups": groups}
    said = "training.epochs: 3 has no say in groups.all, whose client 'fedrep' goes by params.body_epochs."
    assert said in experiment(table, training__epochs=3).warnings
    assert not [line for line in experiment(table).warnings if "no say" in line]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            {"public__source": "noise"},
            "public.source: received 'noise', whose examples have no labels. Strategy 'fedmd' needs them, or "
            "server.params.pretraining = false.",
        ),
        (
            {"data__classes": [0, 1, 2], "public__source": "dataset:digits"},
            "public.source: received 'dataset:digits', which has classes up to 9, the federation's are 0 to 2. "
            "Strategy 'fedmd' needs them, or server.params.pretraining = false.",
        ),
        (
            {"groups__all__client": "distilling"},
            "groups.all.client: strategy 'fedmd' begins with the action pretrain, which client 'distilling' does not "
            'have; use client = "fedmd", or server.params.pretraining = false.',
        ),
    ],
)
def test_what_pretraining_needs_is_said_before_the_run(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        made(**overrides).check_models()
    assert str(raised.value) == said

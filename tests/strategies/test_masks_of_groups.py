"""Channels, tickets and adaptive sparsity in one federation: what clients return, and equal bits for any workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.compression import masks as masking
from fedcompress.errors import InputError
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays
from tests.federating import FEDPKDG, experiment, federation, run

GROUPS: dict[str, Any] = {
    "rounds": 4,
    "data": {"dataset": "digits", "clients": 4, "validation": 0.2},
    "training": {"batch_size": 32, "learning_rate": 0.01},
    "groups": [
        {"name": "full", "share": 0.25, "model": "mini-cnn"},
        {
            "name": "narrow",
            "share": 0.25,
            "model": "mini-cnn",
            "compression": "channel",
            "sparsity": 0.5,
            "compression_params": {"begin_round": 1, "end_round": 2, "freeze_round": 3},
        },
        {
            "name": "tickets",
            "share": 0.25,
            "model": "mini-cnn",
            "client": "lotteryfl",
            "compression": "lottery",
            "sparsity": 0.5,
            "params": {"accuracy": 0.0},
        },
        {
            "name": "adaptive",
            "share": 0.25,
            "model": "small-cnn",
            "compression": "adaptive",
            "sparsity": 0.9,
            "compression_params": {
                "of_best": 0.5,
                "step": 0.3,
                "patience": 1,
                "begin_round": 1,
                "judge": "client",
                "freeze_round": 0,
            },
        },
    ],
}


def test_every_kind_of_mask_in_one_federation(tmp_path: Path) -> None:
    summary, directory, _ = run(experiment(GROUPS), tmp_path / "one")
    rows = directory.rows("clients")
    assert {row["status"] for row in rows} == {"ok"}
    by_group = {name: [row for row in rows if row["group"] == name] for name in summary["groups"]}
    assert [row["sparsity"] >= 0.5 for row in by_group["narrow"]] == [False, True, True, True]
    full, narrow = by_group["full"][-1], by_group["narrow"][-1]
    assert narrow["parameters"] < 0.6 * full["parameters"]
    assert narrow["compressed_bytes"] < 0.7 * full["compressed_bytes"]
    exported = summary["groups"]["narrow"]
    assert exported["sparsity"] == narrow["sparsity"]
    tickets = [row["sparsity"] for row in by_group["tickets"]]
    assert tickets == sorted(tickets)
    assert 0.3 < tickets[-1] <= 0.5
    adaptive = [row["sparsity"] for row in by_group["adaptive"]]
    assert adaptive[:2] == [0.0, pytest.approx(0.3, abs=0.01)]
    rounds = directory.rows("rounds")
    assert all(0 <= row["verdict adaptive"] <= 1 for row in rounds)
    weights = [t for t in directory.rows("ledger") if t["content"] == "weights" and t["round"] == 4]
    sent = {(t["direction"], t["client"]): t["wire_bytes"] for t in weights}
    clients = {row["group"]: row["client"] for row in rows}
    for direction in ("uplink", "downlink"):
        assert sent[direction, clients["narrow"]] < 0.7 * sent[direction, clients["full"]]
        assert sent[direction, clients["tickets"]] < 0.9 * sent[direction, clients["full"]]
    again, _, _ = run(experiment(GROUPS), tmp_path / "two", workers=2)
    assert again["model_digest"] == summary["model_digest"]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("groups.tickets.compression", "magnitude", "client 'lotteryfl' finds its masks itself, received 'magnitude'"),
        ("groups.tickets.client", "sgd", "compression 'lottery' leaves masks to the client, which 'sgd' does not find"),
        ("data.validation", 0.0, "clients choose by their own validation examples, but data.validation is 0"),
        ("groups.adaptive.compression_params", {}, "expected one of accuracy (such as 0.85) and of_best"),
        ("groups.narrow.compression_params.score", "l2", "input should be 'l1', 'lamp', 'random' or 'gan'"),
        ("server.strategy", "fedmd", "strategy 'fedmd' does not hand out masks; use mask = \"client\""),
    ],
)
def test_what_does_not_go_together_is_refused(key: str, value: Any, problem: str) -> None:
    with pytest.raises(InputError) as error:
        experiment(GROUPS, **{key.replace(".", "__"): value})
    assert problem in str(error.value)


def test_masks_that_nobody_would_hand_out_are_refused_before_the_run() -> None:
    table = {**FEDPKDG, "server": {"strategy": "fedpkdg", "params": {"teacher": "predictions"}}}
    made = experiment(table, groups__pruned__compression="channel")
    with pytest.raises(
        InputError, match=r"groups.pruned.compression: with teacher = .predictions. models stay with clients"
    ):
        made.check_models()


def test_a_floor_that_forbids_the_sparsity_is_refused_before_the_run() -> None:
    made = experiment(GROUPS, groups__narrow__sparsity=0.95)
    with pytest.raises(InputError, match=r"groups.narrow.compression: model 'mini-cnn': received sparsity 0.95"):
        made.check_models()


@pytest.mark.parametrize("scope", ["layer", "model", "erk"])
@pytest.mark.parametrize("mask", ["client", "server"])
def test_a_federation_keeps_what_the_scope_says(scope: str, mask: str, tmp_path: Path) -> None:
    """mini-cnn on 8x8 has kernels of 36, 144 and 160 weights; at 0.9 it keeps 34 of 340, by layer 4 + 14 + 16."""
    params = {"scope": scope, "mask": mask, "schedule": "constant", "begin_round": 1, "end_round": 2}
    pruned = {"model": "mini-cnn", "compression": "magnitude", "sparsity": 0.9, "compression_params": params}
    groups = [{"name": "dense", "share": 0.5, "model": "mini-cnn"}, {"name": "pruned", "share": 0.5, **pruned}]
    made = experiment({"rounds": 3, "data": {"dataset": "digits", "clients": 4}, "groups": groups})
    _, directory, _ = run(made, tmp_path / "run")
    rows = [row for row in directory.rows("clients") if row["group"] == "pruned"]
    assert {row["status"] for row in rows} == {"ok"}
    assert [row["sparsity"] for row in rows if row["round"] == 1] == [0.0, 0.0]
    assert [row["sparsity"] for row in rows if row["round"] > 1] == [pytest.approx(1 - 34 / 340)] * 4


def test_a_ticket_goes_back_to_the_initial_weights_whenever_its_client_first_takes_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each client takes a level in its first round, and of a cohort of a quarter only one is in the first of all."""
    (ticket,) = (group for group in GROUPS["groups"] if group["name"] == "tickets")
    made = experiment(GROUPS, groups=[{**ticket, "share": 1.0}], server={"strategy": "fedavg", "cohort": 0.25})
    started: list[Arrays] = []
    fit = Trainer.fit

    def noted(self: Trainer, weights: Arrays, *args: Any, **more: Any) -> Any:
        started.append(masking.apply(weights, more["masks"], self.spec.prunable))
        first.append(masking.apply(initial, more["masks"], self.spec.prunable))
        return fit(self, weights, *args, **more)

    monkeypatch.setattr(Trainer, "fit", noted)
    fed, first = federation(made), list[Arrays]()
    state = made.server.initial(fed)
    (initial,) = state["weights"].values()
    for number in range(1, 5):
        fed.begin(number)
        state = made.server.round(fed, state)
    assert len(set(state["masks"])) > 1
    for start, expected in zip(started, first, strict=True):
        assert all(map(np.array_equal, start, expected))

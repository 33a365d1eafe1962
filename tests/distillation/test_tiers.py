"""Tiers: what sparse groups run is taught by the global model, sent down, counted, and the same on every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.compression import masks as masking
from fedcompress.distillation.tier_teaching import Tiers
from fedcompress.errors import InputError
from fedcompress.training.trainer import evaluate
from tests import federating

SERVER_MASK = {"compression": "magnitude", "compression_params": {"mask": "server", "begin_round": 1, "end_round": 2}}
TIERED: dict[str, Any] = {
    "data": {"dataset": "mnist-5k", "clients": 4, "examples": 1200, "partition": "dirichlet"},
    "public": {"source": "holdout", "examples": 400},
    "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.005},
    "server": {"strategy": "fedavg", "params": {"tiers": "kd", "tier_blocks": 4}},
    "groups": [
        {"name": "dense", "share": 0.5, "model": "mini-cnn"},
        {"name": "phone", "share": 0.25, "model": "mini-cnn", "sparsity": 0.5, **SERVER_MASK},
        {"name": "watch", "share": 0.25, "model": "mini-cnn", "sparsity": 0.8, **SERVER_MASK},
    ],
}


def of(params: dict[str, Any] | None = None, **overrides: Any) -> Any:
    server = {"strategy": "fedavg", "params": {**TIERED["server"]["params"], **(params or {})}}
    return federating.experiment({**TIERED, "server": server}, **overrides)


def deployed(run: Any, directory: Any) -> dict[str, float]:
    return {name: group["deployed_accuracy"] for name, group in run["groups"].items()}


def test_a_tier_is_better_than_its_part_of_the_global_model(tmp_path: Path) -> None:
    taught, directory, _ = federating.run(of(), tmp_path / "taught")
    plain, _, _ = federating.run(of({"tiers": "none"}), tmp_path / "plain")
    assert taught["accuracy"] == plain["accuracy"]  # the global model is not touched
    assert taught["groups"]["watch"]["deployed_accuracy"] > plain["groups"]["watch"]["deployed_accuracy"] + 0.05
    rows = [row for row in directory.rows("clients") if row["action"] == "deploy"]
    assert sorted((row["round"], row["group"], round(row["sparsity"], 2)) for row in rows) == [
        (3, "phone", 0.5),
        (3, "watch", 0.8),
    ]
    sent = {row["content"]: row for row in directory.rows("ledger") if row["action"] == "deploy"}
    assert sent["tier"]["direction"] == "downlink"
    assert 0 < sent["tier"]["wire_bytes"] < sent["tier"]["dense_bytes"]
    assert taught["downlink_bytes"] > plain["downlink_bytes"]
    assert taught["uplink_bytes"] - plain["uplink_bytes"] == sum(  # envelopes of two empty replies
        row["wire_bytes"]
        for row in directory.rows("ledger")
        if row["action"] == "deploy" and row["direction"] == "uplink"
    )


def test_it_stays_under_its_mask_and_learns_from_the_global_model() -> None:
    made = of()
    fed = federating.federation(made)
    fed.begin(3)
    group, spec = made.groups["watch"], made.groups["watch"].model
    state = {**made.server.initial(fed)}
    mask = masking.choose(state["weights"][spec.name], spec.prunable, [a.size // 5 for a in _prunable(state, spec)])
    state["server_masks"] = {"watch": mask}
    lesson = made.public.draw({"seed": [np.array([1], np.int64)]})
    made_tiers = Tiers(made.server, 3)
    weights, masks = made_tiers.taught(fed, group, state, lesson)
    assert [np.array_equal(a, b) for a, b in zip(masks, mask, strict=True)] == [True] * len(mask)
    assert all((weights[i][~m] == 0).all() for i, m in zip(spec.prunable, mask, strict=True))
    before, after = fed.record.notes["tier watch before"], fed.record.notes["tier watch after"]
    validation = made.data.server_validation_examples
    cut = masking.apply(state["weights"][spec.name], mask, spec.prunable)
    assert before == evaluate(spec, cut, validation).accuracy
    assert after == evaluate(spec, weights, validation).accuracy


def _prunable(state: Any, spec: Any) -> list[Any]:
    return [state["weights"][spec.name][i] for i in spec.prunable]


@pytest.mark.parametrize("way", ["simkd", "head-reuse"])
def test_a_borrowed_head_stays_as_it_is(way: str) -> None:
    made = of({"tiers": way}, data__server_validation=0.0)  # so that the last block counts
    fed = federating.federation(made)
    fed.begin(3)
    group, spec = made.groups["watch"], made.groups["watch"].model
    state = made.server.initial(fed)
    mask = masking.choose(state["weights"][spec.name], spec.prunable, [a.size // 5 for a in _prunable(state, spec)])
    state["server_masks"] = {"watch": mask}
    lesson = made.public.draw({"seed": [np.array([1], np.int64)]})
    weights, _ = Tiers(made.server, 3).taught(fed, group, state, lesson)
    kernel, bias = spec.head_of(state["weights"][spec.name])
    head, last = spec.head_of(weights)
    assert np.array_equal(head, np.where(mask[-1], kernel, 0))
    assert np.array_equal(last, bias)
    assert not np.array_equal(weights[0], np.where(mask[0], state["weights"][spec.name][0], 0))


@pytest.mark.parametrize("start", ["global", "tier"])
def test_every_round_and_where_clients_train_on_from(start: str, tmp_path: Path) -> None:
    params = {"tier_start": start, "tier_rounds": 0, "tier_blocks": 1}
    summary, directory, _ = federating.run(of(params), tmp_path / start)
    deploys = sorted({row["round"] for row in directory.rows("clients") if row["action"] == "deploy"})
    assert deploys == ([2, 3] if start == "global" else [3])  # pruning begins in round 2
    again, _, _ = federating.run(of(params), tmp_path / "again", workers=2)
    assert again["model_digest"] == summary["model_digest"]


def test_a_tier_that_clients_train_on_from_is_scored_as_they_decode_it(tmp_path: Path) -> None:
    """4 bits on the wire: the watch's client begins round 3 with what was scored after round 2, to the bit."""
    params = {"tiers": "kd", "tier_start": "tier", "tier_rounds": 0, "tier_blocks": 1, "tier_epochs": 1}
    made = federating.experiment(
        {**QUICK, "rounds": 3, "wire": {"values": "int4"}, "server": {"strategy": "fedavg", "params": params}}
    )
    fed = federating.federation(made)
    state = made.server.initial(fed)
    for number in (1, 2):
        fed.begin(number)
        state = made.tiers.after(fed, state, made.server.round(fed, state))
    watch, spec = made.groups["watch"], made.groups["watch"].model
    scored = made.tier(state, watch)
    assert all(len(np.unique(scored[i])) <= 16 for i in spec.prunable)
    masks = made.server.masks_of(state, watch)
    assert all(np.array_equal(scored[i] != 0, m & (scored[i] != 0)) for i, m in zip(spec.prunable, masks, strict=True))
    fed.begin(3)
    (client,) = (c for c in made.clients if c.group == "watch")
    (reply,) = fed.call("train", {client: {"weights": scored, "mask": masks}})
    assert all(np.array_equal(a, b) for a, b in zip(scored, reply.request["weights"], strict=True))


def test_tiers_are_part_of_the_digest(tmp_path: Path) -> None:
    first, _, _ = federating.run(of({"tier_blocks": 1}), tmp_path / "first")
    second, _, _ = federating.run(of({"tier_blocks": 1, "tier_learning_rate": 0.001}), tmp_path / "second")
    assert first["accuracy"] == second["accuracy"]
    assert first["model_digest"] != second["model_digest"]


@pytest.mark.parametrize("strategy", ["dsfl", "fedsimkd", "feddf", "fedpkdg", "flower"])
def test_every_strategy_has_them(strategy: str, tmp_path: Path) -> None:
    client = {"fedsimkd": "simkd", "fedpkdg": "fedpkdg"}.get(strategy, "distilling")
    own = strategy in ("dsfl", "fedsimkd")
    more = {"flower": {"name": "FedAdam"}, "feddf": {"blocks": 1, "block_steps": 10}}.get(strategy, {})
    params = {"tiers": "kd", "tier_blocks": 1, **more}
    groups = [
        {
            **group,
            "client": client,
            **({"compression_params": {"begin_round": 1, "end_round": 2}} if own and group.get("sparsity") else {}),
        }
        for group in TIERED["groups"]
    ]
    made = federating.experiment(
        {**TIERED, "server": {"strategy": strategy, "model": "mini-cnn", "params": params}, "groups": groups}
    )
    summary, directory, _ = federating.run(made, tmp_path / "run")
    groups_told = {row["group"] for row in directory.rows("clients") if row["action"] == "deploy"}
    assert groups_told == ({"dense", "phone", "watch"} if own else {"phone", "watch"})
    assert 0 < summary["groups"]["watch"]["deployed_accuracy"] <= 1
    watch = [row for row in directory.rows("clients") if row["action"] == "deploy" and row["group"] == "watch"]
    assert watch[-1]["sparsity"] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("way", ["kd", "simkd"])
def test_a_tier_of_another_architecture(way: str, tmp_path: Path) -> None:
    groups = [
        {"name": "dense", "share": 0.5, "model": "small-cnn"},
        {"name": "watch", "share": 0.5, "model": "mini-cnn", "sparsity": 0.5, **SERVER_MASK},
    ]
    params = {"tiers": way, "tier_blocks": 4, "tier_teacher": "small-cnn"}
    made = federating.experiment({**TIERED, "server": {"strategy": "fedavg", "params": params}, "groups": groups})
    summary, directory, _ = federating.run(made, tmp_path / "run")
    watch = made.groups["watch"]
    assert (made.device_model(watch) is watch.model) == (way == "kd")
    assert summary["groups"]["watch"]["deployed_accuracy"] > 0.2
    row = directory.rows("clients")[-1]
    assert row["action"] == "deploy"
    assert row["parameters"] == made.device_model(watch).parameters


QUICK: dict[str, Any] = {
    **TIERED,
    "rounds": 2,
    "data": {"dataset": "digits", "clients": 4, "partition": "iid"},
    "public": {"source": "holdout", "examples": 64},
    "training": {"epochs": 1, "batch_size": 64},
    "server": {"strategy": "fedavg", "params": {"tiers": "kd", "tier_blocks": 1, "tier_epochs": 1}},
}


def test_a_tier_that_no_device_gets_costs_no_round(tmp_path: Path) -> None:
    gone = {"downlink_bits_per_second": 1e9, "uplink_bits_per_second": 1e9, "multiply_adds_per_second": 1e12}
    for those, events in (
        (["watch"], ["tier watch: no device of 1 got it, the group keeps what it had"]),
        (
            ["phone", "watch"],
            ["no tier was deployed: round 2, action 'deploy': 0 good replies of 2, server.minimum_rep"],
        ),
    ):
        groups = [{**g, **({"device": "gone"} if g["name"] in those else {})} for g in TIERED["groups"]]
        made = federating.experiment({**QUICK, "groups": groups, "devices": {"gone": {**gone, "dropout": 0.999999}}})
        summary, directory, _ = federating.run(made, tmp_path / str(len(those)))
        assert summary["status"] == "completed"
        told = [event for event in directory.rows("rounds")[-1]["events"] if "changed nothing" not in event]
        assert [event[: len(start)] for event, start in zip(told, events, strict=True)] == events
        reached = {
            row["group"] for row in directory.rows("clients") if row["action"] == "deploy" and row["error"] is None
        }
        assert reached == {"phone", "watch"} - set(those)
        # Devices that never trained have no mask of their own: nothing is known of what they run.
        assert (summary["groups"]["watch"]["deployed_accuracy"] is None) == ("watch" in those)


def test_until_its_tier_of_another_architecture_is_taught_a_group_runs_its_own_model() -> None:
    groups = [{"name": "dense", "share": 0.5, "model": "small-cnn"}, {**TIERED["groups"][2], "share": 0.5}]
    params = {"tiers": "simkd", "tier_teacher": "small-cnn"}
    made = federating.experiment({**QUICK, "server": {"strategy": "fedavg", "params": params}, "groups": groups})
    watch, state = made.groups["watch"], made.server.initial(federating.federation(made))
    assert made.deployed_model(state, watch) is watch.model
    assert any(
        "groups.watch: layers of its tier stay dense: " in warning for warning in made.warnings
    )  # the head that it borrows
    tier = {"weights": made.device_model(watch).template, "mask": np.zeros(0, np.uint8)}
    state["tiers"] = {"groups": {"watch": tier}, "public": {}}
    assert made.deployed_model(state, watch).parameters == made.device_model(watch).parameters > watch.model.parameters


def test_clients_cannot_train_on_from_a_tier_of_another_architecture() -> None:
    groups = [{"name": "dense", "share": 0.5, "model": "small-cnn"}, {**TIERED["groups"][2], "share": 0.5}]
    params = {"tiers": "simkd", "tier_teacher": "small-cnn", "tier_start": "tier"}
    made = federating.experiment({**QUICK, "server": {"strategy": "fedavg", "params": params}, "groups": groups})
    with pytest.raises(InputError, match="the tier of group 'watch' is not of its architecture, mini-cnn, which its"):
        made.check_models()


def test_what_a_strategy_without_tiers_keeps_under_that_name_is_its_own() -> None:
    made = of({"tiers": "none"}, data__dataset="digits", data__examples=None)
    assert made.tier({"tiers": ["something", "else"]}, made.groups["watch"]) is None


def test_a_tier_is_rounded_as_its_group_rounds() -> None:
    rounding = {**TIERED["groups"][2], "compression": "quantise", "bits": 4}
    made = federating.experiment({**QUICK, "groups": [*TIERED["groups"][:2], rounding]})
    fed = federating.federation(made)
    fed.begin(2)
    group, state = made.groups["watch"], made.server.initial(fed)
    lesson = made.public.draw({"seed": [np.array([1], np.int64)]})
    weights, masks = made.tiers.taught(fed, group, state, lesson)
    spec = group.model
    assert all(len(np.unique(weights[i])) <= 15 for i in spec.prunable)
    assert all((weights[i][~m] == 0).all() for i, m in zip(spec.prunable, masks, strict=True))
    scored = group.compression.rounded(weights, spec)
    assert all(np.array_equal(a, b) for a, b in zip(weights, scored, strict=True))
    assert (
        fed.record.notes["tier watch after"] == evaluate(spec, weights, made.data.server_validation_examples).accuracy
    )


def test_a_dense_group_learns_behind_the_head_of_an_architecture_that_others_prune() -> None:
    groups = [{**group, "client": "simkd"} for group in TIERED["groups"]]
    groups[2] = {**groups[2], "model": "small-cnn", "compression_params": {"begin_round": 1, "end_round": 2}}
    groups[1] = {**groups[1], "compression_params": {"begin_round": 1, "end_round": 2}}
    params = {**QUICK["server"]["params"], "tiers": "simkd"}
    server = {"strategy": "fedsimkd", "model": "small-cnn", "params": params}
    made = federating.experiment({**QUICK, "server": server, "groups": groups})
    fed = federating.federation(made)
    fed.begin(2)
    lesson = made.public.draw({"seed": [np.array([1], np.int64)]})
    weights, masks = made.tiers.taught(fed, made.groups["dense"], made.server.initial(fed), lesson)
    assert masks == []
    assert len(weights) == len(made.device_model(made.groups["dense"]).template)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"public": None}, "but there is no public data to teach on; add [public]"),
        ({"groups": [{"name": "all", "model": "mini-cnn"}]}, "but no group has a sparsity"),
        ({"stop": {"patience": 2}}, "with [stop] the last round is not known beforehand; use 0"),
        ({"stop": {"patience": 2}, "start": "tier"}, 'received "tier", but with [stop] the last round is not known'),
        ({"teacher": "big-cnn"}, "received 'big-cnn', expected the model of a group"),
        (
            {"mask": "client"},
            'groups.watch.compression_params.mask: a tier is one mask for its group; use mask = "server"',
        ),
        (
            {"public": {"source": "gan"}},
            "has no action train_generator, which a generator of public data needs; use one of the clients "
            "distilling, fedmd, fedpkdg, generating, relay, simkd.",
        ),
    ],
)
def test_what_is_in_the_way_is_said(table: dict[str, Any], message: str) -> None:
    named = {"teacher": "tier_teacher", "start": "tier_start"}
    params = {"tiers": "kd", **{named[key]: value for key, value in table.items() if key in named}}
    whole = {**TIERED, **table, "server": {"strategy": "fedavg", "params": params}}
    if "mask" in table:
        pruning = {"compression_params": {"mask": table["mask"], "begin_round": 1, "end_round": 2}}
        whole["groups"] = [{**group, **(pruning if group.get("sparsity") else {})} for group in TIERED["groups"]]
    whole = {key: value for key, value in whole.items() if key not in (*named, "mask") and value is not None}
    with pytest.raises(InputError) as caught:
        federating.experiment(whole).check_models()
    assert message in str(caught.value)

"""Clients that train sub-networks: which masks they get, what these cost, equal bits, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.nested import Nested
from clients.sgd import SGD
from fedcompress.client import Result
from fedcompress.compression.nested import NESTED, unpacked
from fedcompress.errors import InputError
from fedcompress.wire.content import Payload, digest
from federating import experiment, federation, run


def group(name: str, sparsity: float, client: str, **pruning: Any) -> dict[str, Any]:
    params = {"mask": "server", "begin_round": 1, "end_round": 2, "freeze_round": 3, **pruning}
    pruned = {"compression": "magnitude", "sparsity": sparsity, "compression_params": params} if sparsity else {}
    return {"name": name, "share": 0.25, "model": "mini-cnn", "client": client, **pruned}


NESTING: dict[str, Any] = {
    "rounds": 4,
    "data": {"dataset": "digits", "clients": 4},
    "training": {"batch_size": 32, "learning_rate": 0.01},
    "wire": {"values": "float16"},
    "groups": [
        group("dense", 0.0, "nested"),
        group("half", 0.5, "nested", mask="client"),
        group("phone", 0.8, "nested"),
        group("watch", 0.9, "sgd"),
    ],
}
"""The clients at 0.5 choose masks of their own, which are no sub-networks of the others."""


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float, Payload]]:
    """What nested clients are sent: round, sparsity, payload."""
    seen: list[tuple[int, float, Payload]] = []
    train = Nested.train

    def spy(client: Nested, payload: Payload, round_number: int) -> Result:
        seen.append((round_number, client.compression.sparsity, payload))
        return train(client, payload, round_number)

    spy.is_action = True  # type: ignore[attr-defined]
    monkeypatch.setattr(Nested, "train", spy)
    return seen


def test_clients_get_the_masks_that_the_server_chose(received: list[tuple[int, float, Payload]]) -> None:
    made = experiment(NESTING)
    fed = federation(made)
    state = made.server.initial(fed)
    for number in (1, 2, 3, 4):
        fed.begin(number)
        state, before = made.server.round(fed, state), len(received)
        masks = state["server_masks"]
        for _, sparsity, payload in received[before - 3 :]:
            expected = [] if number == 1 else ["watch"] if sparsity == 0.8 else ["phone", "watch"]
            found = unpacked(payload.get(NESTED, []))
            assert len(found) == len(expected)
            for mask, name in zip(found, expected, strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(mask, masks[name], strict=True))
    assert len(received) == 12


def test_masks_that_stay_cross_as_a_digest(tmp_path: Path) -> None:
    """Nine bytes; before, what 340 weights need at a byte each or less."""
    _, directory, _ = run(experiment(NESTING), tmp_path / "run")
    rows = [row for row in directory.rows("ledger") if row["content"] == NESTED]
    assert {row["direction"] for row in rows} == {"downlink"}
    by_round = {n: sorted(row["wire_bytes"] for row in rows if row["round"] == n) for n in (1, 2, 3, 4)}
    assert [len(by_round[n]) for n in (1, 2, 3, 4)] == [0, 3, 3, 3]
    assert max(by_round[4]) < 20 < min(by_round[2])


def test_before_pruning_begins_it_is_sgd() -> None:
    plain = [{**g, "client": "sgd"} for g in NESTING["groups"]]
    made = [experiment({**NESTING, "groups": groups}) for groups in (NESTING["groups"], plain)]
    feds = [federation(one) for one in made]
    states = [one.server.initial(fed) for one, fed in zip(made, feds, strict=True)]
    alike = []
    for number in (1, 2):
        for fed in feds:
            fed.begin(number)
        states = [one.server.round(fed, s) for one, fed, s in zip(made, feds, states, strict=True)]
        alike.append(len({digest(state["weights"]["mini-cnn"]) for state in states}) == 1)
    assert alike == [True, False]


@pytest.mark.parametrize(
    ("strategy", "subnetworks"), [("fedavg", "all"), ("fedavg", "smallest"), ("flower", "sandwich")]
)
def test_equal_bits_for_any_workers(strategy: str, subnetworks: str, tmp_path: Path) -> None:
    groups = [group("dense", 0.0, "nested"), group("half", 0.5, "sgd"), group("more", 0.7, "sgd")]
    groups += [group("watch", 0.9, "sgd")]
    groups[0]["params"] = {"subnetworks": subnetworks}
    table = {**NESTING, "groups": groups, "server": {"strategy": strategy, "cohort": 0.75}}
    one, two = (run(experiment(table), tmp_path / str(n), workers=n)[0] for n in (1, 2))
    assert one["model_digest"] == two["model_digest"]


def sparse(client: str = "sgd", **pruning: Any) -> list[dict[str, Any]]:
    return [group("dense", 0.0, "nested"), {**group("watch", 0.8, client, **pruning), "share": 0.75}]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            {"groups": sparse(mask="client")},
            "groups.dense.client: 'nested' trains the sub-networks of sparser groups of 'mini-cnn' whose masks the "
            'server chooses; received watch. Give such a group compression_params.mask = "server", or use client = '
            '"sgd".',
        ),
        (
            {"groups": [{**sparse()[0], "model": "small-cnn"}, sparse()[1]]},
            "groups.dense.client: 'nested' trains the sub-networks of sparser groups of 'small-cnn' whose masks the "
            "server chooses; received no sparser group.",
        ),
        (
            {"groups": sparse("nested")},
            "groups.watch.client: 'nested' trains the sub-networks of sparser groups of 'mini-cnn' whose masks the "
            "server chooses; received no sparser group.",
        ),
        (
            {"groups": sparse(mask="client"), "server": {"strategy": "local"}},
            "groups.dense.client: 'nested' needs a strategy that hands out masks; 'local' does not.",
        ),
    ],
)
def test_a_federation_without_sub_networks_is_refused(table: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as error:
        experiment({**NESTING, **table})
    assert problem in str(error.value)


def test_nine_sub_networks_are_refused() -> None:
    sparsities = np.linspace(0.1, 0.9, 9)
    groups = [{**group(f"g{i}", float(s), "sgd"), "share": 0.1} for i, s in enumerate(sparsities)]
    table = {**NESTING, "data": {"dataset": "digits", "clients": 10}}
    with pytest.raises(InputError, match="'nested' trains at most 8 sub-networks, received 9 sparser groups"):
        experiment({**table, "groups": [{**group("dense", 0.0, "nested"), "share": 0.1}, *groups]})


def test_alone_it_trains_as_sgd_does() -> None:
    assert Nested.train_alone is SGD.train_alone

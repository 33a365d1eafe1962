"""Mean embeddings in a federation: what crosses, who releases when, the ledger, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.data.loading import common_examples, load_dataset
from fedcompress.distillation.embedded import AGAIN, EMBED, EMBEDDING
from fedcompress.distillation.source import COUNT
from fedcompress.engines.inline import InlineEngine
from fedcompress.engines.superlink import SuperLinkEngine
from fedcompress.errors import InputError, RunError
from fedcompress.launch import check_privacy
from fedcompress.options import Options
from fedcompress.privacy.accounting import Release, epsilon_of
from fedcompress.privacy.accounts import NOT_COVERED, Accounts
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario.public import PrivacySettings
from fedcompress.seeding import generator
from federating import experiment, federation, run

SMALL = {"features": 20, "steps": 12, "more_steps": 3, "most_steps": 14, "batch_size": 20}
SIZE = 10 * (1 + 2 * 20)
"""Of a release: a count and 2 D sums for each class."""


def made(strategy: str = "fedpkdg", client: str = "fedpkdg", **overrides: Any) -> Any:
    table = {
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"},
        "public": {"source": "embedding", "examples": 60, "embedding": SMALL},
        "privacy": {"epsilon": 10.0},
        "server": {"strategy": strategy} | ({"model": "mini-cnn"} if strategy == "fedsimkd" else {}),
        "groups": [{"name": "all", "model": "mini-cnn", "client": client}],
    }
    return experiment(table, **overrides)


def sent(directory: RunDirectory) -> list[tuple[int, int]]:
    """Returns (round, client) of each release that crossed."""
    return [(r["round"], r["client"]) for r in directory.rows("ledger") if r["content"] == EMBEDDING]


def test_a_client_releases_once_and_every_round_draws_from_it(tmp_path: Path) -> None:
    summary, directory, _ = run(made(), tmp_path / "run")
    assert sent(directory) == [(1, client) for client in range(4)]
    sizes = [r["dense_bytes"] for r in directory.rows("ledger") if r["content"] == EMBEDDING]
    assert sizes == [4 * SIZE] * 4
    assert {r["action"] for r in directory.rows("clients")} == {EMBED, "train"}
    assert summary["epsilon"] == pytest.approx(10.0, abs=1e-3)
    assert [row["epsilon"] for row in directory.rows("rounds")] == [summary["epsilon"]] * 2
    ledger = directory.rows("privacy")
    assert [row["client"] for row in ledger] == [0, 1, 2, 3]
    assert {(row["round"], row["what"], row["sampling"], row["steps"]) for row in ledger} == {(1, EMBEDDING, 1.0, 1)}
    assert {round(row["noise"], 4) for row in ledger} == {0.4999}
    covered = {"delta": 1e-5, "unit": "example", "noise": "seed", "not_covered": NOT_COVERED}
    assert summary["privacy"] == {"epsilon": summary["epsilon"], **covered}


def test_who_takes_part_later_releases_then_and_training_ends_at_its_cap(tmp_path: Path) -> None:
    setup = made(rounds=5, server__cohort=0.5)
    summary, directory, _ = run(setup, tmp_path / "run")
    releases = sent(directory)
    assert len({client for _, client in releases}) == len(releases)
    assert len({number for number, _ in releases}) > 1
    fed, state = federation(setup), setup.server.public.initial()
    for number, clients in enumerate([[0, 1], [1, 2], [2, 3], [0, 1]], 1):
        fed.begin(number)
        before, state = state, setup.server.public.train(fed, [fed.clients[c] for c in clients], state)
    assert state["released"] == [0, 1, 2, 3]
    assert state["steps"] == 14  # 12, 3 more of which the cap leaves 2, and none for the last
    assert state is before  # nothing new came
    assert summary["epsilon"] == pytest.approx(10.0, abs=1e-3)


def test_the_noise_is_of_the_client_and_the_same_when_it_is_asked_again() -> None:
    setup = made()
    fed = federation(setup)
    first, again = (fed.call(EMBED, {client: {} for client in fed.clients}) for _ in range(2))
    source = setup.public.embedded
    for reply, other in zip(first, again, strict=True):
        assert np.array_equal(reply.payload[EMBEDDING][0], other.payload[EMBEDDING][0])
        exact = source.embedding.release(setup.data.train(reply.client.partition))
        noise = reply.payload[EMBEDDING][0] - exact
        assert noise.std() == pytest.approx(source.event.noise, rel=0.15)
        drawn = generator(1, 0, reply.client.partition, f"{EMBED}.noise").standard_normal(SIZE)
        assert noise == pytest.approx(source.event.noise * drawn, abs=1e-3)


@pytest.mark.parametrize("noise", ["seed", "system"])
def test_a_client_that_has_lost_its_release_makes_no_other(noise: str) -> None:
    """It was late, say, and its memory went with its worker: there are new clients under the old accounts."""
    setup = made(privacy__noise=noise)
    fed, after = federation(setup), federation(setup)
    first = [reply.payload[EMBEDDING][0] for reply in fed.call(EMBED, {client: {} for client in fed.clients})]
    after.accounts = fed.accounts
    after.begin(2)
    public = setup.server.public
    if noise == "seed":
        released = public.train(after, list(after.clients), public.initial())
        assert np.array_equal(released["releases"], np.sum(first, axis=0, dtype=np.float64))
    else:
        with pytest.raises(RunError, match="0 good replies of 4"):
            public.train(after, list(after.clients), public.initial())
        expected = "it was asked for its mean embedding before and holds none; other noise could cost it more"
        assert all(expected in row["error"] for row in after.record.clients)
        assert len(after.record.clients) == 4
    assert len(fed.accounts.rows) == 4
    assert fed.accounts.largest == pytest.approx(10.0, abs=1e-3)


def test_whoever_asks_a_client_for_something_of_its_data_pays(tmp_path: Path) -> None:
    """A strategy that calls the actions itself, as a plug-in may; asked again it says so, or it counts again."""
    setup = made(client="distilling", strategy="feddf", privacy__noise="system")
    fed = federation(setup)
    requests = {client: {} for client in fed.clients[:1]}
    fed.call(EMBED, requests)
    fed.call(EMBED, {client: {AGAIN: [np.ones(1, np.uint8)]} for client in requests})
    assert [row["what"] for row in fed.accounts.rows] == [EMBEDDING]
    fed.call(EMBED, requests)
    assert fed.accounts.largest == pytest.approx(epsilon_of([setup.public.embedded.event] * 2, 1e-5))
    fed.call(COUNT, {fed.clients[1]: {}})
    assert fed.accounts.largest == float("inf")
    assert fed.accounts.rows[-1] | {"epsilon": 0} == {
        "round": 1,
        "client": 1,
        "what": "label counts",
        "noise": 0.0,
        "sampling": 1.0,
        "steps": 1,
        "epsilon": 0,
    }


def test_without_privacy_a_release_is_exact_and_has_no_epsilon(tmp_path: Path) -> None:
    setup = made()
    table = setup.scenario.table()
    del table["privacy"]
    setup = experiment(table)
    assert setup.warnings == [
        'public.source = "embedding" without [privacy]: clients send exact mean embeddings, which have no epsilon and '
        "can reveal training data."
    ]
    summary, directory, _ = run(setup, tmp_path / "run")
    assert [row["epsilon"] for row in directory.rows("privacy")] == [None] * 4
    assert directory.rows("rounds")[0]["epsilon"] is None
    assert summary["privacy"] == {"epsilon": float("inf"), "not_covered": NOT_COVERED}


def test_a_trusted_server_clips_and_adds_the_noise(tmp_path: Path) -> None:
    setup = made(privacy__unit="client", privacy__clip=2.0, privacy__epsilon=30.0)
    fed, source = federation(setup), setup.public.embedded
    replies = fed.call(EMBED, {client: {} for client in fed.clients})
    releases = [reply.payload[EMBEDDING] for reply in replies]
    assert [np.linalg.norm(release[0]) for release in releases] == pytest.approx([2.0] * 4)
    total = source.summed(releases, generator(1, 1, 0, "sum"))
    noise = total - np.sum([release[0] for release in releases], axis=0)
    assert noise.std() == pytest.approx(2.0 * source.event.noise, rel=0.15)
    too_long = [[3.0 * release[0]] for release in releases]
    assert source.summed(too_long, generator(1, 1, 0, "sum")) == pytest.approx(total, abs=1e-5)
    assert "for each client, who trusts the server that adds the noise" in setup.warnings[0]


@pytest.mark.parametrize(
    ("strategy", "client"), [("feddf", "distilling"), ("dsfl", "distilling"), ("fedmd", "fedmd"), ("fedsimkd", "simkd")]
)
def test_every_strategy_on_public_data(strategy: str, client: str, tmp_path: Path) -> None:
    summary, directory, _ = run(made(strategy, client, rounds=1), tmp_path / "run")
    assert summary["status"] == "completed"
    assert len(sent(directory)) == 4
    assert summary["epsilon"] == pytest.approx(10.0, abs=1e-3)


def test_tiers_are_taught_on_it(tmp_path: Path) -> None:
    pruned = {"compression": "magnitude", "sparsity": 0.5, "compression_params": {"mask": "server", "end_round": 1}}
    setup = made(
        "fedavg",
        "distilling",
        groups=[{"name": "watch", "model": "mini-cnn", "client": "distilling", **pruned}],
        server__params__tiers="kd",
    )
    setup.check_models()
    summary, directory, _ = run(setup, tmp_path / "run")
    assert [client for _, client in sent(directory)] == [0, 1, 2, 3]
    assert "tier watch after" in directory.rows("rounds")[-1]
    assert summary["epsilon"] == pytest.approx(10.0, abs=1e-3)


def test_seeded_noise_and_a_trusted_server_are_refused_where_clients_are_apart() -> None:
    engine = SuperLinkEngine(Options("superlink"))
    with pytest.raises(InputError) as raised:
        check_privacy(made(privacy__unit="client"), engine)
    assert raised.value.problems == [
        'privacy.noise: received "seed", but with engine superlink clients are apart from the server, which knows the '
        'seed and could take the noise off; use noise = "system".',
        'privacy.unit: received "client", for which the server adds the noise, but with engine superlink clients add '
        'their own; use unit = "example".',
    ]
    check_privacy(made(privacy__noise="system"), engine)
    check_privacy(made(), InlineEngine(Options()))


def test_examples_that_two_data_sets_share_are_found() -> None:
    data = load_dataset("digits")
    part = replace(data, x_train=data.x_train[:30], y_train=data.y_train[:30])
    assert common_examples(data, part) == 30
    assert common_examples(data, replace(part, x_train=255 - part.x_train)) == 0
    scaled = [x.astype(np.float32) / np.float32(255) for x in (part.x_train, part.x_test)]
    assert common_examples(data, replace(part, x_train=scaled[0], x_test=scaled[1])) == 30
    assert common_examples(data, replace(part, x_train=1000 * scaled[0], x_test=scaled[1])) == 0


def test_the_same_model_with_any_number_of_workers(tmp_path: Path) -> None:
    one, two = (run(made(), tmp_path / str(workers), workers)[0] for workers in (1, 2))
    assert one["model_digest"] == two["model_digest"]


def test_noise_of_the_operating_system_does_not_repeat() -> None:
    setup = made(privacy__noise="system")
    one, two = (federation(setup).call(EMBED, {setup.clients[0]: {}})[0].payload[EMBEDDING][0] for _ in range(2))
    assert not np.array_equal(one, two)
    assert "Simulated noise" not in setup.warnings[0]


def test_a_release_of_a_round_that_was_cut_off_is_one_more() -> None:
    event = made().public.embedded.event
    accounts = Accounts(PrivacySettings(epsilon=20.0, delta=1e-5))
    accounts.add(1, 0, event)
    rows = accounts.rows
    accounts.restore([], rows)
    assert not accounts.has(0, event)
    accounts.add(1, 0, event)
    assert accounts.has(0, event)
    assert [row.get("cut_off", False) for row in accounts.rows] == [True, False]
    assert accounts.largest == pytest.approx(epsilon_of([event, event], 1e-5))
    accounts.restore(rows)
    assert accounts.has(0, event)


PRIVATE = "a width chosen by private data is a release that no epsilon covers"
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a private data set": (
        {"public__embedding__width": "dataset:digits"},
        'public.embedding.width: received "dataset:digits", which is the clients\' own data set: a width chosen by '
        'private data is a release that no epsilon covers. Use "noise", a number, or public data.',
    ),
    "a clip of examples": (
        {"privacy__clip": 2.0},
        'privacy.clip: received 2, but with public.source = "embedding" an example adds a vector of norm 1, whatever '
        'it is; leave it out, or use unit = "client".',
    ),
    "steps of a training that is not there": (
        {"public__dp_sgd__noise": 2.0},
        'public.dp_sgd: is for public.source = "gan" with [privacy]; without them nothing is trained by DP-SGD.',
    ),
    "bits of a generator that clients do not train": (
        {"public__gan": "slim", "public__bits": 4},
        'public.bits: is for a GAN that clients train, source = "gan", received source = "embedding"; leave it out.',
    ),
    "no width": (
        {"public__embedding__width": "median"},
        'public.embedding.width: received \'median\', expected a number, "noise" or "dataset:NAME"',
    ),
    "a width of 0": ({"public__embedding__width": 0.0}, "public.embedding.width: received 0, expected more than 0"),
    "a data set of other images": (
        {"public__embedding__width": "dataset:mnist-5k"},
        "public.embedding.width: 'dataset:mnist-5k' has examples of 28x28x1, the federation's are 8x8x1; expected the "
        "same shape.",
    ),
    "nothing to cover": (
        {"public__source": "holdout"},
        'privacy: covers what clients release for public.source = "embedding" or "gan", received \'holdout\'; nothing '
        "here would be private. Use one of these sources, or leave [privacy] out.",
    ),
    "a client that cannot": (
        {"groups__all__client": "sgd", "server__strategy": "feddf"},
        "groups.all.client: strategy 'feddf' needs the action embed",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_before_the_run(case: str) -> None:
    overrides, expected = WRONG[case]
    with pytest.raises(InputError) as raised:
        made(**overrides)
    assert any(expected in problem for problem in raised.value.problems)


def test_an_epsilon_that_leaves_nothing_to_learn_from() -> None:
    with pytest.raises(InputError, match=r"^privacy.epsilon: received 0.02, at which a release has noise of deviation"):
        made(privacy__epsilon=0.02).check_models()
    with pytest.raises(InputError, match=r"times what one client adds, and there are 4: nothing would be left"):
        made(privacy__epsilon=0.5, privacy__unit="client").check_models()
    made(privacy__epsilon=1.0).check_models()


def test_counts_of_labels_are_those_of_the_release(tmp_path: Path) -> None:
    setup = made("feddf", "distilling", server__params__ensemble="class_counts", rounds=1)
    setup.check_models()
    assert len(setup.warnings) == 1
    _, directory, _ = run(setup, tmp_path / "run")
    assert "label counts" not in {row["content"] for row in directory.rows("ledger")}
    fed, public = federation(setup), setup.server.public
    state = public.train(fed, list(fed.clients), public.initial())
    deviation = setup.public.embedded.count_deviation(1)
    for client, counts in state["counts"].items():
        held = np.bincount(setup.data.train(int(client)).y, minlength=10)
        assert np.abs(counts - held).max() < 4.5 * deviation
        assert counts.min() >= 0


def test_nothing_is_told_of_one_client_where_clients_are_hidden() -> None:
    with pytest.raises(InputError, match=r'with privacy\.unit = "client" nothing is told of one client; use another'):
        made(
            "feddf",
            "distilling",
            server__params__ensemble="class_counts",
            privacy__unit="client",
            privacy__epsilon=30.0,
        ).check_models()


def test_noise_that_the_server_adds_to_every_late_sum_is_counted() -> None:
    """Three clients one after the other, each in a sum of its own: the noise of three sums, of one after the first."""
    setup = made(privacy__unit="client", privacy__epsilon=30.0)
    embedded = setup.public.embedded
    fed, public = federation(setup), setup.server.public
    state, clients = public.initial(), list(fed.clients)
    for number, client in enumerate(clients[:3], start=1):
        state = public.train(fed, [client], state)
        assert state["noises"] == number
    assert embedded.count_deviation(3) == pytest.approx(np.sqrt(3.0) * embedded.count_deviation(1))
    own = made()
    fed, public = federation(own), own.server.public
    assert public.train(fed, list(fed.clients)[:2], public.initial())["noises"] == 2


def test_releases_that_were_all_cut_off_end_the_run_by_name() -> None:
    setup = made()
    fed, public = federation(setup), setup.server.public
    for client in fed.clients:
        fed.accounts.add(1, client.partition, Release("discriminator", 0.6))
    with pytest.raises(RunError, match="no client may release its mean embedding any more, and none has come before"):
        public.train(fed, list(fed.clients), public.initial())


def test_accounts_add_up_and_keep_to_a_budget() -> None:
    """Two releases cost as one of 1 / sqrt 2 of the noise, which is 1.46 here."""
    accounts = Accounts(PrivacySettings(epsilon=1.4))
    release = Release(EMBEDDING, 3.7306)
    assert accounts.affords(0, release)
    accounts.add(1, 0, release)
    accounts.add(2, 1, Release(EMBEDDING, 10.0))
    assert accounts.largest == pytest.approx(1.0, abs=1e-3)
    assert not accounts.affords(0, release)
    assert accounts.affords(1, release)
    assert accounts.epsilon(0, [release]) == pytest.approx(1.46, abs=0.03)
    other = Accounts(PrivacySettings(epsilon=1.4))
    other.restore(accounts.rows)
    assert other.epsilon(0) == accounts.epsilon(0)
    other.add(3, 0, Release("label counts", 0.0))
    assert other.largest == float("inf")
    assert Accounts(None).affords(0, Release(EMBEDDING, 0.0))


def test_a_spent_budget_stops_a_client_by_name() -> None:
    setup = made()
    fed, public = federation(setup), setup.server.public
    fed.accounts.add(1, 2, Release("discriminator", 0.6))
    state = public.train(fed, list(fed.clients), public.initial())
    assert state["released"] == [0, 1, 3]
    assert fed.record.events == ["client 2 has spent its privacy budget, it releases nothing more"]

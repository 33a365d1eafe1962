"""The usual baselines against plain NumPy runs of their papers' updates, what crosses, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_same_bits import Breaks, outcome

from clients.fedrep import OfPart
from fedcompress.compression.masks import sparsity
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.federation import Federation
from fedcompress.options import Options
from fedcompress.seeding import generator
from fedcompress.strategy import Reply
from fedcompress.training.loop import batches
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays
from federating import experiment, federation, run

RATE, EPOCHS, BATCH = 0.5, 2, 32
W = NDArray[np.float64]
"""Kernel and bias of softmax regression, as the last row, (features + 1, classes)."""
GLOBAL = ("scaffold", "fednova", "feddyn", "ditto")
PARTIAL = ("fedper", "fedrep", "fedbn")
SMALL = {"dataset": "digits", "clients": 2, "examples": 300, "partition": "dirichlet", "alpha": 0.3}


def made(method: str, optimizer: str = "sgd", model: str = "linear", **more: Any) -> Experiment:
    """Two clients of different sizes, whose data are skewed."""
    params = {"head_epochs": 2} if method == "fedrep" else {}
    table = {
        "rounds": 3,
        "data": SMALL,
        "server": {"strategy": method},
        "training": {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": optimizer, "learning_rate": RATE},
        "groups": [{"name": "all", "model": model, "client": method, "params": params, **more.pop("group", {})}],
    }
    return experiment({**table, **more})


class Papers:
    """Local training in NumPy, of the examples and in the order that a client has them in."""

    def __init__(self, of: Experiment) -> None:
        self.of = of
        kernel, bias = of.initial_weights(of.models["linear"])
        self.start = np.vstack([kernel, bias]).astype(np.float64)
        self.sizes = [client.examples for client in of.clients]

    def trained(
        self, w: W, client: int, number: int, more: Callable[[W], Any], momentum: float = 0.0, purpose: str = "shuffle"
    ) -> tuple[W, int]:
        """Returns what steps along the gradient and `more` make of w, and how many they are."""
        data = self.of.data.train(client)
        x = np.hstack([data.x.reshape(len(data.y), -1) / 255.0, np.ones((len(data.y), 1))])
        rng = generator(self.of.scenario.seed, number, client, f"train.{purpose}")
        order, edges = batches(len(data.y), BATCH, EPOCHS, rng)
        velocity = np.zeros_like(w)
        for first, last in pairwise(edges):
            rows = order[first:last]
            logits = x[rows] @ w
            chances = np.exp(logits - logits.max(axis=1, keepdims=True))
            chances /= chances.sum(axis=1, keepdims=True)
            chances[np.arange(len(rows)), data.y[rows]] -= 1
            velocity = momentum * velocity - RATE * (x[rows].T @ chances / len(rows) + more(w))
            w = w + velocity
        return w, len(edges) - 1


def scaffold(papers: Papers) -> W:
    """Karimireddy et al. 2020, Algorithm 1, option II."""
    x, c = papers.start, np.zeros_like(papers.start)
    own = [np.zeros_like(x), np.zeros_like(x)]
    for number in (1, 2, 3):
        moved, changed = [], []
        for i in (0, 1):
            y, steps = papers.trained(x, i, number, lambda _, i=i, c=c: c - own[i])
            new = own[i] - c + (x - y) / (steps * RATE)
            moved.append(y - x)
            changed.append(new - own[i])
            own[i] = new
        x, c = x + np.mean(moved, axis=0), c + np.mean(changed, axis=0)
    return x


def fednova(papers: Papers, momentum: float = 0.0) -> W:
    """Wang et al. 2020, eq. 6 and 8; |a|_1 summed up step by step."""
    x, shares = papers.start, np.array(papers.sizes) / sum(papers.sizes)
    for number in (1, 2, 3):
        directions, norms = [], []
        for i in (0, 1):
            y, steps = papers.trained(x, i, number, np.zeros_like, momentum)
            norm = sum(sum(momentum**k for k in range(steps - step)) for step in range(steps))
            directions.append((y - x) / norm)
            norms.append(norm)
        x = x + (shares @ norms) * np.average(directions, axis=0, weights=shares)
    return x


def feddyn(papers: Papers) -> W:
    """Acar et al. 2021, Algorithm 1, with the clients' default alpha."""
    alpha, x, h = 0.01, papers.start, np.zeros_like(papers.start)
    own = [np.zeros_like(x), np.zeros_like(x)]
    for number in (1, 2, 3):
        trained = []
        for i in (0, 1):
            y, _ = papers.trained(x, i, number, lambda w, i=i, x=x: -own[i] + alpha * (w - x))
            own[i] = own[i] - alpha * (y - x)
            trained.append(y)
        h = h - alpha * sum(y - x for y in trained) / 2
        x = np.mean(trained, axis=0) - h / alpha
    return x


PAPERS = [(scaffold, "sgd"), (fednova, "sgd"), (fednova, "momentum"), (feddyn, "sgd")]


@pytest.mark.parametrize(("paper", "optimizer"), PAPERS, ids=["scaffold", "fednova", "fednova-momentum", "feddyn"])
def test_three_rounds_are_those_of_the_paper(paper: Callable[..., W], optimizer: str) -> None:
    of = made(paper.__name__, optimizer)
    papers = Papers(of)
    assert len({-(-size // BATCH) for size in papers.sizes}) == 2  # steps differ
    expected = paper(papers, 0.9) if optimizer == "momentum" else paper(papers)
    (kernel, bias) = rounds(of)[-1]["weights"]["linear"]
    np.testing.assert_allclose(np.vstack([kernel, bias]), expected, atol=1e-6)
    assert np.abs(expected - averaged(papers, optimizer)).max() > 1e-2


def averaged(papers: Papers, optimizer: str) -> W:
    """FedAvg, from which the methods differ."""
    x = papers.start
    for number in (1, 2, 3):
        momentum = 0.9 if optimizer == "momentum" else 0.0
        trained = [papers.trained(x, i, number, np.zeros_like, momentum)[0] for i in (0, 1)]
        x = np.average(trained, axis=0, weights=papers.sizes)
    return x


def rounds(of: Experiment) -> list[dict[str, Any]]:
    """Returns the state before the first round and after each."""
    fed = federation(of)
    states = [of.server.initial(fed)]
    for number in range(1, of.scenario.rounds + 1):
        fed.begin(number)
        states.append(of.server.round(fed, states[-1]))
    return states


def test_ditto_trains_the_global_model_as_fedavg_and_its_own_beside_it(tmp_path: Path) -> None:
    """Li et al. 2021, Algorithm 1: v <- v - eta (grad F(v) + lambda (v - x)), lambda = 1 by default."""
    of = made("ditto")
    papers = Papers(of)
    x, own = papers.start, [papers.start, papers.start]
    for number in (1, 2, 3):
        own = [papers.trained(own[i], i, number, lambda v, x=x: v - x, purpose="own")[0] for i in (0, 1)]
        trained = [papers.trained(x, i, number, np.zeros_like)[0] for i in (0, 1)]
        x = np.average(trained, axis=0, weights=papers.sizes)
    _, directory, _ = run(of, tmp_path / "run")
    rows = {row["client"]: row for row in directory.rows("clients") if row["round"] == 3}
    test = of.data.test_examples
    correct = [(flat(test.x) @ v).argmax(axis=1) == test.y for v in own]
    for i in (0, 1):
        assert rows[i]["test_accuracy"] == pytest.approx(correct[i].mean(), abs=1e-9)
    last = directory.rows("rounds")[-1]
    assert last["deployed_accuracy"] == pytest.approx(np.mean(correct), abs=1e-9)
    assert last["accuracy"] == pytest.approx(((flat(test.x) @ x).argmax(axis=1) == test.y).mean(), abs=1e-9)
    assert last["accuracy"] != last["deployed_accuracy"]


def flat(x: NDArray[Any]) -> W:
    return np.hstack([x.reshape(len(x), -1) / 255.0, np.ones((len(x), 1))])


def crossed(of: Experiment, path: Path) -> dict[tuple[str, str], set[int]]:
    """Returns (direction, content) -> its sizes in bytes, without deflate."""
    _, directory, _ = run(of, path)
    found: dict[tuple[str, str], set[int]] = {}
    for row in directory.rows("ledger"):
        found.setdefault((row["direction"], row["content"]), set()).add(row["dense_bytes"])
    return found


def sizes(arrays: Sequence[NDArray[Any]]) -> int:
    return sum(4 * array.size for array in arrays)


@pytest.mark.parametrize("method", PARTIAL)
def test_what_clients_keep_never_crosses(method: str, tmp_path: Path) -> None:
    of = made(method, "adam", "normalised", wire={"deflate": False, "weights": "dense"})
    (model,) = of.models.values()
    # Convolution, then scale, shift, mean and variance, twice; the classifier.
    own = [*range(2, 6), *range(8, 12)] if method == "fedbn" else list(model.head)
    shared = [array for i, array in enumerate(model.template) if i not in own]
    found = crossed(of, tmp_path / "run")
    assert {content for _, content in found} == {"shared", "envelope"}
    assert found["uplink", "shared"] == found["downlink", "shared"] == {sizes(shared)}
    assert sizes(shared) < sizes(model.template)


@pytest.mark.parametrize("method", PARTIAL)
def test_what_is_shared_is_averaged_over_clients_alike_or_by_examples(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FedBN's clients count the same, as published; the others' as many times as they have examples."""
    of = made(method, "sgd", "normalised")
    fed, stream = federation(of), Federation.stream
    replies: list[Reply] = []

    def kept(*args: Any, **more: Any) -> list[Reply]:
        replies.extend(stream(*args, **more))
        return replies

    monkeypatch.setattr(Federation, "stream", kept)
    (average,) = of.server.round(fed, of.server.initial(fed))["shared"].values()
    examples = [float(reply.client.examples) for reply in replies]
    assert len(set(examples)) == len(examples) == 2
    alike, weighted = (
        [
            np.average(arrays, axis=0, weights=weights)
            for arrays in zip(*(r.payload["shared"] for r in replies), strict=True)
        ]
        for weights in ([1.0, 1.0], examples)
    )
    expected, other = (alike, weighted) if method == "fedbn" else (weighted, alike)
    for array, mean in zip(average, expected, strict=True):
        np.testing.assert_allclose(array, mean, atol=1e-6)
    assert max(np.abs(array - mean).max() for array, mean in zip(average, other, strict=True)) > 1e-3


def test_control_variates_and_norms_are_counted(tmp_path: Path) -> None:
    of = made("scaffold", wire={"deflate": False})
    (model,) = of.models.values()
    whole = {sizes(model.template)}
    found = crossed(of, tmp_path / "scaffold")
    assert found["downlink", "control"] == found["uplink", "control change"] == found["uplink", "weights"] == whole
    found = crossed(made("fednova"), tmp_path / "fednova")
    assert found["uplink", "norm"] == {4}
    assert {name for _, name in crossed(made("feddyn"), tmp_path / "feddyn")} == {"weights", "envelope"}


@pytest.mark.parametrize("method", ["fedper", "fedrep"])
def test_clients_share_representations_and_have_classifiers_of_their_own(method: str, tmp_path: Path) -> None:
    of = made(method, "adam", "mini-cnn")
    _, directory, _ = run(of, tmp_path / "run")
    rows = {row["client"]: row for row in directory.rows("clients") if row["round"] == 3}
    assert rows[0]["model_digest"] != rows[1]["model_digest"]
    last = directory.rows("rounds")[-1]
    assert (
        last["accuracy"]
        == last["deployed_accuracy"]
        == pytest.approx(np.mean([rows[i]["test_accuracy"] for i in (0, 1)]))
    )


def test_of_a_part_nothing_else_is_changed() -> None:
    of = made("fedrep", "momentum", "mini-cnn")
    (model,) = of.models.values()
    start, client = model.initial(np.random.default_rng(0)), of.client(0, 1, "train_shared", {})
    head = tuple(i in model.head for i in model.trainable)
    for part in (head, tuple(not learns for learns in head)):
        weights = client.trainer.fit(start, client.data, OfPart(part)).weights
        assert tuple(not np.array_equal(a, b) for a, b in zip(weights, start, strict=True)) == part


def test_a_representation_is_as_it_was_received_until_it_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Algorithm 1 of FedRep, in rounds in which masks are chosen."""
    of = made("fedrep", "sgd", "mini-cnn", group=PRUNED)
    starts, fit = [], Trainer.fit

    def noted(self: Trainer, weights: Arrays, *args: Any, **more: Any) -> Any:
        trained = fit(self, weights, *args, **more)
        starts.append((weights, trained.latent))
        return trained

    monkeypatch.setattr(Trainer, "fit", noted)
    fed = federation(of)
    state, (model,) = of.server.initial(fed), of.models.values()
    for number in (1, 2):
        fed.begin(number)
        received = state["shared"]["mini-cnn"]
        state = of.server.round(fed, state)
        for (_, after_head), (before_body, after_body) in zip(starts[::2], starts[1::2], strict=True):
            for arrays in (after_head, before_body):
                assert all(map(np.array_equal, arrays[:-2], received))
            assert not all(map(np.array_equal, after_body[:-2], received))
            sparse = sparsity(after_body, model.prunable)
            assert sparse == pytest.approx(0.6 if number == 2 else 0.0, abs=0.01)
        starts.clear()


WIRE = {"values": "int8", "delta": True}
PRUNED = {"compression": "magnitude", "sparsity": 0.6, "compression_params": {"begin_round": 1, "end_round": 2}}


@pytest.mark.parametrize("method", [*GLOBAL, "fedper", "fedrep", "fedbn"])
def test_pruned_clients_over_a_lossy_wire_resume_to_the_same_bits(method: str, tmp_path: Path) -> None:
    """And are as sparse as they are to be, on any number of workers."""
    model = "normalised" if method == "fedbn" else "mini-cnn"
    of = made(method, "sgd", model, group=PRUNED, wire=WIRE, server={"strategy": method, "cohort": 1.0})
    once = outcome(of, tmp_path / "once", Options(workers=2))
    with pytest.raises(KeyboardInterrupt):
        outcome(of, tmp_path / "again", observer=Breaks())
    assert outcome(of, tmp_path / "again") == once
    _, directory, _ = run(of, tmp_path / "run")
    assert [row["sparsity"] for row in directory.rows("clients") if row["round"] == 3] == pytest.approx(
        [0.6, 0.6], abs=0.01
    )


@pytest.mark.parametrize("method", GLOBAL)
def test_what_a_mask_of_the_server_leaves_out_stays_as_it_was(method: str) -> None:
    """Of control variates, which nobody has there, nothing stays; the mask is that of the second round."""
    group = {**PRUNED, "compression_params": {"begin_round": 1, "end_round": 2, "freeze_round": 2, "mask": "server"}}
    _, dense, _, pruned = rounds(made(method, "sgd", "linear", group=group))
    (mask,) = pruned["server_masks"]["all"]
    for name in ("weights", "controls") if method == "scaffold" else ("weights",):
        before, after = dense[name]["linear"][0], pruned[name]["linear"][0]
        np.testing.assert_array_equal(after[~mask], before[~mask] if name == "weights" else 0.0)
        assert np.abs(after - before)[mask].mean() > 1e-3


@pytest.mark.parametrize(
    ("method", "changes", "problem"),
    [
        (
            "scaffold",
            {"training": {"optimizer": "adam"}},
            "training.optimizer: received 'adam', but client 'scaffold' goes by the sum of its gradients; use 'sgd'.",
        ),
        (
            "fednova",
            {"training": {"optimizer": "adam"}},
            "training.optimizer: received 'adam', but client 'fednova' goes by the sum of its gradients; use 'sgd' or "
            "'momentum'.",
        ),
        (
            "feddyn",
            {"server": {"strategy": "fedavg"}},
            "groups.all.client: 'feddyn' is one half of a method whose server is 'feddyn', received 'fedavg'; use "
            'server.strategy = "feddyn", or another client.',
        ),
        (
            "fedper",
            {"server": {"strategy": "fedrep"}},
            "groups.all.client: strategy 'fedrep' averages what clients of its own train, received 'fedper'; use "
            'client = "fedrep".',
        ),
        (
            "fedper",
            {"group": {"compression": "channel", "sparsity": 0.5, "compression_params": {"mask": "client"}}},
            "groups.all.compression: client 'fedper' keeps a part of its model, through which channels that go cannot "
            "be followed, received 'channel'; use one that leaves out single weights.",
        ),
        (
            "scaffold",
            {"server": {"strategy": "scaffold", "params": {"tiers": "kd", "tier_start": "tier"}}},
            'server.params.tier_start: received "tier", but clients of this strategy cannot train on from a tier, '
            'whose steps from the global weights it adds up; use "global".',
        ),
        (
            "fedbn",
            {"model": "mini-cnn"},
            "groups.all.model: received 'mini-cnn', which has no batch normalisation for clients to keep; strategy "
            "'fedbn' needs one that has, such as resnet-20:batch.",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(method: str, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as error:
        made(method, **changes).check_models()
    assert problem in str(error.value)


@pytest.mark.parametrize("strategy", ["fednova", "feddyn", "flower"])
def test_zeros_are_no_values_where_changes_are_added_up(strategy: str) -> None:
    client = "sgd" if strategy == "flower" else strategy
    groups = [{"name": "all", "model": "linear", "client": client}]
    with pytest.raises(InputError, match=r"server\.params\.plain: .*unknown"):
        experiment({"server": {"strategy": strategy, "params": {"plain": True}}, "groups": groups})

"""Partitions: disjoint, complete, seeded, never below the minimum, and skewed as their papers say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcompress.data.dataset import Dataset
from fedcompress.data.dealt import filled_up
from fedcompress.data.partition import Partition, Pool, divided, label_distribution, partition_digest
from fedcompress.errors import InputError
from fedcompress.plugins import Plugins
from fedcompress.scenario.sections import DataSettings
from work import counted

METHODS = ("iid", "dirichlet", "pathological", "shard", "quantity", "feature")

TEN = np.arange(1000) % 10
"""1,000 examples, 100 of each of ten classes."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def data(labels: Any, images: Any = None) -> Dataset:
    inputs = np.zeros((len(labels), 1), np.uint8) if images is None else images
    return Dataset("labels", inputs, labels, inputs[:1], labels[:1], int(labels.max()) + 1)


def partition(labels: Any, clients: int, method: str, rng: Any, images: Any = None, **changes: Any) -> list[Any]:
    """Returns what a partition that ships makes of labels."""
    return ready(labels, clients, method, rng, images, **changes)()


def ready(
    labels: Any, clients: int, method: str, rng: Any, images: Any = None, **changes: Any
) -> Callable[[], list[Any]]:
    """Returns what divides labels; unless balanced, the minimum is 1 where it is not given."""
    if changes.get("minimum") is None and not changes.get("balanced"):
        changes["minimum"] = 1
    settings = DataSettings(clients=clients, partition=method, **changes)
    kind = Plugins().load("partitions", method)
    pool = Pool(data(labels, images), np.arange(len(labels)))
    return partial(divided, kind(kind.Params(), settings), method, pool, rng)


def mix(parts: list[Any], labels: Any = TEN) -> np.ndarray:
    return label_distribution(labels, parts, int(labels.max()) + 1)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    labels = np.array(draw(st.lists(st.integers(0, 5), min_size=1, max_size=120)))
    minimum = draw(st.integers(1, 4).filter(lambda m: m <= len(labels)))
    clients = draw(st.integers(1, len(labels) // minimum))
    return {
        "labels": labels,
        "clients": clients,
        "method": draw(st.sampled_from(list(METHODS))),
        "minimum": minimum,
        "alpha": draw(st.sampled_from([1e-8, 1e-2, 0.5, 10.0, 1e12])),
        "classes_per_client": draw(st.integers(1, len(np.unique(labels)))),
        "shards_per_client": draw(st.integers(1, len(labels) // clients)),
        "images": np.arange(len(labels) * 2, dtype=np.uint8).reshape(-1, 2) * 7,
    }


@settings(max_examples=300)
@given(requests(), st.integers(0, 1000))
def test_every_example_has_one_owner_and_every_client_enough(request: dict[str, Any], seed: int) -> None:
    parts = partition(**request, rng=rng(seed))
    assert len(parts) == request["clients"]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(request["labels"])))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)
    assert min(map(len, parts)) >= request["minimum"]


@settings(max_examples=50)
@given(requests(), st.integers(0, 1000))
def test_the_generator_decides_alone(request: dict[str, Any], seed: int) -> None:
    first = partition_digest(partition(**request, rng=rng(seed)))
    np.random.seed(seed)  # the global generator must not matter
    assert partition_digest(partition(**request, rng=rng(seed))) == first


@pytest.mark.parametrize("method", METHODS)
def test_seeds_differ_and_labels_may_have_gaps(method: str) -> None:
    images = np.arange(1000, dtype=np.float32)[:, None]
    first, second = (partition(TEN, 10, method, rng(seed), images=images) for seed in (1, 2))
    assert partition_digest(first) != partition_digest(second)
    spaced = partition(TEN * 7 + 3, 10, method, rng(1), images=images)
    assert partition_digest(spaced) == partition_digest(first)


@pytest.mark.parametrize(
    ("method", "digest"),
    [
        ("iid", "3a7ee30c357f7d40"),
        ("dirichlet", "0b292cccf2ae543b"),
        ("pathological", "afc65f899459bfd8"),
        ("shard", "c0cc221ff11e8097"),
        ("quantity", "2b106eb1bd7ac43f"),
    ],
)
def test_partitions_stay_what_they_were(method: str, digest: str) -> None:
    """Recorded with NumPy 2.4: another digest means that published runs no longer repeat."""
    assert partition_digest(partition(TEN, 10, method, rng(1)))[:16] == digest


def test_iid_sizes() -> None:
    """10 = 4 + 3 + 3."""
    assert sorted(len(part) for part in partition(TEN[:10], 3, "iid", rng())) == [3, 3, 4]


def test_dirichlet_limits() -> None:
    """alpha -> infinity: p = 1/4 each, so floor(25.0 k) cuts give 100/4 = 25 of each class, give or take one for
    rounding. alpha -> 0: p is a corner of the simplex, so a class has one owner, but for what fills up the others."""
    assert np.abs(mix(partition(TEN, 4, "dirichlet", rng(), alpha=1e12)) - 25).max() <= 1
    held = mix(partition(TEN, 4, "dirichlet", rng(), alpha=1e-8))
    assert ((held >= 99).sum(axis=0) == 1).all()


def test_dirichlet_spread_has_the_variance_of_its_distribution() -> None:
    """Var(p_i) = (1/K)(1 - 1/K) / (K alpha + 1) = 0.1875 / 3 = 0.0625 for K = 4 clients, alpha = 0.5."""
    labels = np.repeat(np.arange(400), 200)
    shares = mix(partition(labels, 4, "dirichlet", rng(), alpha=0.5), labels) / 200
    assert shares.mean() == pytest.approx(0.25)
    assert shares.var() == pytest.approx(0.0625, abs=0.006)


@settings(max_examples=100)
@given(requests(), st.integers(0, 1000), st.booleans())
def test_a_balanced_partition_is_one_and_gives_everybody_half_of_the_mean(
    request: dict[str, Any], seed: int, given_minimum: bool
) -> None:
    request |= {"method": "dirichlet", "balanced": True, "minimum": request["minimum"] if given_minimum else None}
    parts = partition(**request, rng=rng(seed))
    count, clients = len(request["labels"]), request["clients"]
    assert len(parts) == clients
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)
    assert min(map(len, parts)) >= (request["minimum"] or count / clients / 2)
    assert partition_digest(partition(**request, rng=rng(seed))) == partition_digest(parts)


@pytest.mark.parametrize("clients", [10, 25, 100])
@pytest.mark.parametrize("alpha", [0.05, 0.1, 1.0])
def test_balanced_sizes_come_from_redrawing_and_stay_skewed(clients: int, alpha: float) -> None:
    """No client is filled up, and labels are as skewed as alpha says: at 0.1 the largest class is most of a client."""
    labels = np.arange(6000) % 10
    held = mix(partition(labels, clients, "dirichlet", rng(3), alpha=alpha, balanced=True), labels)
    sizes = held.sum(axis=1)
    assert sizes.min() >= 3000 / clients
    share = (held.max(axis=1) / sizes).mean()
    assert share > 0.5 if alpha < 1 else share < 0.5
    plain = mix(partition(labels, clients, "dirichlet", rng(3), alpha=alpha), labels).sum(axis=1)
    assert sizes.std() < plain.std()


def test_a_balanced_partition_in_its_limits() -> None:
    """alpha -> infinity: equal parts of each class. alpha -> 0: each of ten classes fills one of ten clients."""
    assert np.abs(mix(partition(TEN, 4, "dirichlet", rng(), alpha=1e12, balanced=True)) - 25).max() <= 1
    held = mix(partition(TEN, 10, "dirichlet", rng(), alpha=1e-8, balanced=True))
    assert sorted(held.max(axis=1).tolist()) == [100] * 10
    assert (held.sum(axis=1) == 100).all()


def test_a_client_that_has_its_share_gets_no_more() -> None:
    """So nobody exceeds the mean by more than one class, 100 of 1,000, less the example that was missing."""
    for seed in range(20):
        sizes = mix(partition(TEN, 5, "dirichlet", rng(seed), alpha=0.1, balanced=True)).sum(axis=1)
        assert sizes.min() >= 100
        assert sizes.max() <= 199 + 100


def test_two_classes_on_ten_clients_arefilled_up() -> None:
    """At alpha -> 0 two classes have two owners however often it is drawn; the other eight get half of the mean, 50."""
    labels = np.arange(1000) % 2
    sizes = mix(partition(labels, 10, "dirichlet", rng(), alpha=1e-8, balanced=True), labels).sum(axis=1)
    assert sorted(sizes.tolist()) == [50] * 8 + [300, 300]


@pytest.mark.parametrize(("minimum", "least"), [(1, 1), (20, 20), (95, 95), (None, 50)])
def test_a_minimum_overrides_half_of_the_mean(minimum: int | None, least: int) -> None:
    found = [
        mix(partition(TEN, 10, "dirichlet", rng(seed), alpha=0.1, balanced=True, minimum=minimum)).sum(axis=1).min()
        for seed in range(8)
    ]
    assert least <= min(found) < least + 20


def test_quantity_skews_sizes_and_not_labels() -> None:
    labels = np.arange(100_000) % 10
    held = mix(partition(labels, 5, "quantity", rng(3), alpha=0.5), labels)
    sizes = held.sum(axis=1)
    assert sizes.max() > 3 * sizes.min()
    large = held[sizes > 2000] / sizes[sizes > 2000, None]
    assert np.abs(large - 0.1).max() < 0.03


def test_pathological_divides_evenly() -> None:
    """10 clients x 2 classes over 10 classes: each class has 2 holders with 50 examples, each client 2 x 50."""
    held = mix(partition(TEN, 10, "pathological", rng(), classes_per_client=2))
    assert ((held == 50).sum(axis=1) == 2).all()
    assert ((held == 50).sum(axis=0) == 2).all()
    assert held.sum() == 1000


@pytest.mark.parametrize(("clients", "k"), [(7, 3), (20, 1), (100, 2), (6, 10)])
def test_pathological_gives_each_client_exactly_k(clients: int, k: int) -> None:
    held = mix(partition(TEN, clients, "pathological", rng(), classes_per_client=k))
    assert ((held > 0).sum(axis=1) == k).all()
    holders = (held > 0).sum(axis=0)
    assert holders.max() - holders.min() <= 1


def test_pathological_uses_every_class() -> None:
    """3 clients x 2 classes cover 6 of 10; the 4 others go to one client each: 2 + 2, 2 + 1, 2 + 1 classes."""
    held = mix(partition(TEN, 3, "pathological", rng(), classes_per_client=2))
    assert sorted((held > 0).sum(axis=1).tolist()) == [3, 3, 4]
    assert (held.max(axis=0) == 100).all()


def test_pathological_with_a_rare_class() -> None:
    """A class of 3 examples has at most 3 holders, and clients of few classes still have similar sizes."""
    labels = np.repeat([0, 1, 2], [300, 297, 3])
    held = mix(partition(labels, 30, "pathological", rng(), classes_per_client=1), labels)
    assert ((held > 0).sum(axis=1) == 1).all()
    assert (held[:, 2] > 0).sum() == 1


def test_shards_of_the_paper() -> None:
    """McMahan et al.: 60,000 examples, 200 shards of 300, 2 for each of 100 clients; 6,000 of each class are 20 whole
    shards, so that a client holds at most 2 classes."""
    labels = np.arange(60_000) % 10
    held = mix(partition(labels, 100, "shard", rng(), shards_per_client=2), labels)
    assert (held.sum(axis=1) == 600).all()
    assert set(np.unique(held)) == {0, 300, 600}


def test_feature_bands_of_brightness() -> None:
    """Without noise client i holds the i-th quarter of the brightness of every class: 25 of each, means rising.

    Brightness of example i is i, so its rank within class i mod 10 is i // 10, and client i // 250 owns it.
    """
    images = np.arange(1000, dtype=np.float32)[:, None, None]
    parts = partition(TEN, 4, "feature", rng(), alpha=1e-12, images=images)
    assert [part.tolist() for part in parts] == [list(range(250 * c, 250 * c + 250)) for c in range(4)]
    noisy = [images[part].mean() for part in partition(TEN, 4, "feature", rng(), alpha=100.0, images=images)]
    assert np.ptp(noisy) < 60  # three standard errors of the mean of 250 of 0..999 are 55


def test_missing_examples_come_from_the_largest() -> None:
    """alpha -> 0: one client draws all 100; three lack 10 each and get 5 of either class, 35 and 35 stay."""
    labels = np.arange(100) % 2
    held = mix(partition(labels, 4, "quantity", rng(), alpha=1e-8, minimum=10), labels)
    assert sorted(held.tolist()) == [[5, 5], [5, 5], [5, 5], [35, 35]]


def test_the_largest_are_cut_to_one_level() -> None:
    """60, 40, 2 and 0 examples, minimum 20: 18 + 20 = 38 are missing, and cutting to 31 gives 29 + 9 = 38."""
    owner = np.repeat([0, 1, 2], [60, 40, 2])
    filled = filled_up(owner, np.zeros(102, np.int64), clients=4, minimum=20)
    assert np.bincount(filled).tolist() == [31, 31, 20, 20]


def test_labels_of_those_that_arefilled_up() -> None:
    """Client 0 holds 10 + 10, client 1 only a 0, client 2 only a 1, client 3 nothing; minimum 4 asks for 3 + 3 + 4.

    Client 0 gives 5 + 5, so its mix stays. 1 and 2 get three of the class they know, 3 gets the remaining 2 + 2.
    """
    labels = np.repeat([0, 1, 0, 1], [10, 10, 1, 1])
    owner = filled_up(np.repeat([0, 1, 2], [20, 1, 1]), labels, clients=4, minimum=4)
    parts = [np.flatnonzero(owner == client) for client in range(4)]
    assert mix(parts, labels).tolist() == [[5, 5], [4, 0], [0, 4], [2, 2]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"clients": 300, "minimum": 4},
            "300 clients x at least 4 examples are 1200, but there are only 1000 examples; lower clients or minimum.",
        ),
        (
            {"method": "shard", "clients": 300, "shards_per_client": 4},
            "300 clients x 4 shards are 1200, but there are only 1000 examples; lower shards_per_client or clients.",
        ),
        (
            {"method": "pathological", "classes_per_client": 11},
            "classes_per_client is 11, but the number of classes is 10.",
        ),
        (
            {"method": "dirichlet", "balanced": True, "minimum": 101},
            "10 clients x at least 101 examples are 1010, but there are only 1000 examples; lower clients or minimum.",
        ),
        (
            {"method": "dirichlet", "balanced": True, "clients": 1001},
            "1001 clients x at least 1 example are 1001, but there are only 1000 examples; lower clients or minimum.",
        ),
    ],
)
def test_too_few_examples_or_classes(changes: dict[str, Any], message: str) -> None:
    request: dict[str, Any] = {"labels": TEN, "clients": 10, "method": "iid"} | changes
    with pytest.raises(InputError) as caught:
        partition(**request, rng=rng())
    assert caught.value.problems == [message]


GOLDEN = {
    ("iid", 4, False): "8bd58aecd614d2b1",
    ("iid", 60, False): "9df56bf62c50a929",
    ("dirichlet", 4, False): "f8431cb776a96f17",
    ("dirichlet", 4, True): "c7a81030cf53ea53",
    ("dirichlet", 60, False): "c268b82daee1765d",
    ("dirichlet", 60, True): "ee12f881cfec69b8",
    ("pathological", 4, False): "a45a1e075c99c39a",
    ("pathological", 60, False): "c8f540eaa7b0eb0b",
    ("shard", 4, False): "8534a8850d42af85",
    ("shard", 60, False): "ee5f34d76f2f7b85",
    ("quantity", 4, False): "871e28b9437bd7b5",
    ("quantity", 60, False): "6224a6b356cbcf11",
    ("feature", 4, False): "a0b90bd21efebc02",
    ("feature", 60, False): "8e2d2b9266b2f0d9",
}
"""First digits of the digests that these partitions have had since they were functions of one module."""


@pytest.mark.parametrize(("case", "digest"), GOLDEN.items(), ids=str)
def test_the_same_index_sets_as_ever(case: tuple[str, int, bool], digest: str) -> None:
    """500 examples of the labels 2, 5, 7 and 9; four clients with a minimum of 2, or sixty with one of 5."""
    method, clients, balanced = case
    labels = rng(1).choice(np.array([2, 5, 7, 9]), 500, p=[0.4, 0.3, 0.2, 0.1])
    images = rng(2).integers(0, 256, (500, 3, 3), dtype=np.uint8)
    settings = {"alpha": 0.2, "shards_per_client": 3, "minimum": 2 if clients == 4 else 5, "balanced": balanced}
    parts = partition(labels, clients, method, rng(3), images, **settings)
    assert partition_digest(parts).startswith(digest)


class Given(Partition):
    """Returns what it was given, of 10 examples for 2 clients."""

    returned: Any

    def divide(self, pool: Pool, rng: np.random.Generator) -> Any:
        return self.returned


def given_parts(returned: Any, **changes: Any) -> list[Any]:
    plug_in = Given(Given.Params(), DataSettings(clients=2, minimum=2, **changes))
    plug_in.returned = returned
    return divided(plug_in, "given", Pool(data(np.arange(10) % 3), np.arange(10)), rng())


def test_index_sets_of_a_plug_in_are_sorted_and_may_leave_examples_out() -> None:
    parts = given_parts([[7, 0, 2], np.array([5, 1], np.uint64)])
    assert [part.tolist() for part in parts] == [[0, 2, 7], [1, 5]]
    assert all(part.dtype == np.int64 for part in parts)


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ([[0, 1]], "returned 1 index sets, expected one for each of 2 clients."),
        ([[0, 1], [0.5, 1.5]], "client 1: received float64 of shape (2,), expected integers of shape (n,)."),
        ([[0, 1], [[2, 3]]], "client 1: received int64 of shape (1, 2), expected integers of shape (n,)."),
        ([[0, 1], [2, 10]], "client 1: received position 10, expected 0 to 9."),
        ([[-1, 1], [2, 3]], "client 0: received position -1, expected 0 to 9."),
        ([[0, 1], [2]], "client 1: received 1 example, expected at least 2 (data.minimum)."),
        ([[0, 1], []], "client 1: received 0 examples, expected at least 2 (data.minimum)."),
        ([[0, 4, 1], [2, 4]], "position 4 is given 2 times, to client 0, 1; expected once at most."),
        ([[0, 1], [2, 3, 3]], "position 3 is given 2 times, to client 1; expected once at most."),
        (None, "cannot be prepared: TypeError: divide returned NoneType, expected an index set for each client."),
    ],
)
def test_index_sets_that_are_none(returned: Any, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        given_parts(returned)
    assert caught.value.problems == [f"partition 'given': {problem}"]


def test_a_pool_knows_classes_without_gaps_inputs_and_whose_each_example_is() -> None:
    labels, inputs = np.array([3, 5, 5, 9, 3]), np.arange(10, dtype=np.uint8).reshape(5, 2)
    dataset = Dataset("x", inputs, labels, inputs, labels, 10, client_ids=np.array(["b", "a", "b", "c", "c"]))
    pool = Pool(dataset, np.array([1, 2, 4]))
    assert len(pool) == 3
    assert pool.labels.tolist() == [1, 1, 0]
    assert pool.inputs.tolist() == [[2, 3], [4, 5], [8, 9]]
    assert pool.client_ids is not None
    assert pool.client_ids.tolist() == [0, 1, 2]
    assert Pool(data(labels), np.arange(5)).client_ids is None


def test_a_pool_cannot_be_changed_by_who_divides_it() -> None:
    members = np.array([1, 2, 4])
    pool = Pool(data(np.array([5, 3, 9, 3, 5])), members)
    for array in (pool.members, pool.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    assert members.flags.writeable


def test_label_distribution_and_digest() -> None:
    parts = [np.array([0, 1, 2]), np.array([3]), np.array([], np.int64)]
    assert label_distribution(np.array([1, 1, 0, 2]), parts, 4).tolist() == [[1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert partition_digest(parts) != partition_digest([np.array([0, 1]), np.array([2, 3]), np.array([], np.int64)])


@pytest.mark.parametrize("method", METHODS)
def test_ten_thousand_clients_are_quick(method: str) -> None:
    """6 to 11 calls a client, 0.03 to 0.15 s in all."""
    labels = np.arange(60_000) % 10
    images = (np.arange(60_000) % 251).astype(np.uint8)[:, None]
    parts, calls = counted(ready(labels, 10_000, method, rng(), alpha=0.1, images=images))
    assert calls < 120_000
    assert min(map(len, parts)) >= 1

"""Partition of the examples over the clients: pure functions of labels, settings and a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import ceil, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, suggestion
from .splits import Indices

TOGETHER = 10
"""Clients that a balanced partition deals with at a time, as FedDF's code does: draws of more hardly ever are."""
DRAWS = 300
"""Draws of a balanced partition. For ten clients and ten classes of equal size at alpha = 0.05 one in 25 was enough."""


@dataclass(frozen=True)
class _Request:
    """What a method is given; see `partition`."""

    labels: NDArray[np.int64]
    """(n,) classes, renumbered 0..k-1 without gaps."""
    clients: int
    rng: np.random.Generator
    alpha: float
    classes_per_client: int
    shards_per_client: int
    least: int | None
    """"dirichlet": balanced until every client has so many; None for sizes as they are drawn."""
    images: NDArray[Any] | None


def _iid(request: _Request) -> Indices:
    """Equal sizes, examples at random."""
    return request.rng.permutation(np.arange(len(request.labels)) % request.clients)


def _dirichlet(request: _Request) -> Indices:
    """Each class is divided over the clients in proportions drawn from Dir(alpha).

    Yurochkin et al. 2019 (arXiv:1905.12022, section 4). alpha -> 0: a class belongs to one client; alpha -> infinity:
    IID. Hsu et al. 2019 draw per client instead of per class; the code of FedDF (Lin et al. 2020) draws per class, too,
    but balances sizes: see `_balanced`.
    """
    if request.least is not None:
        return _balanced(request, request.least)
    owner = np.empty(len(request.labels), np.int64)
    for label in range(int(request.labels.max()) + 1):
        _deal(owner, np.flatnonzero(request.labels == label), request)
    return owner


def _balanced(request: _Request, least: int) -> Indices:
    """As the code of FedDF does (Lin et al. 2020, arXiv:2006.07242): a client that has its share gets no more.

    Clients are dealt with in groups of ten at most, of which each gets an IID part of the examples. In a group the next
    class goes to the clients that have less than the mean; the whole is drawn again until everybody has `least`
    examples. Where `DRAWS` draws do not come to it (few classes, or `least` close to the mean), the best one counts.
    """
    labels, rng = request.labels, request.rng
    owner = np.empty(len(labels), np.int64)
    groups = np.array_split(np.arange(request.clients), ceil(request.clients / TOGETHER))
    ends = [len(labels) * int(group[-1] + 1) // request.clients for group in groups[:-1]]
    for group, members in zip(groups, np.split(rng.permutation(len(labels)), ends), strict=True):
        by_class = np.bincount(labels[members])
        counts = _balanced_counts(by_class, len(group), request.alpha, rng, least)
        for label, row in enumerate(counts):
            owner[members[labels[members] == label]] = np.repeat(group, row)
    return owner


def _balanced_counts(
    sizes: NDArray[np.int64], clients: int, alpha: float, rng: np.random.Generator, least: int
) -> NDArray[np.int64]:
    """Returns how many examples of each class each client gets, (classes, clients): the first draw with `least`."""
    best, most = np.zeros((len(sizes), clients), np.int64), -1
    for _ in range(DRAWS):
        counts = np.zeros_like(best)
        for label, size in enumerate(sizes):
            # Of proportions ~ Dir(alpha), those of some clients, made to sum to 1 again, are Dir(alpha) as well.
            open_ = np.flatnonzero(counts.sum(axis=0) * clients < sizes.sum())
            if size:
                counts[label, open_] = _cut(int(size), rng.dirichlet(np.full(len(open_), alpha)))
        if (fewest := int(counts.sum(axis=0).min())) > most:
            best, most = counts, fewest
        if most >= least:
            break
    return best


def _quantity(request: _Request) -> Indices:
    """Sizes are drawn from Dir(alpha), labels are IID (Li et al., arXiv:2102.02079, section 4.3)."""
    owner = np.empty(len(request.labels), np.int64)
    _deal(owner, np.arange(len(owner)), request)
    return owner


def _deal(owner: Indices, members: Indices, request: _Request) -> None:
    """Deals some examples at random over all clients, in proportions p ~ Dir(alpha)."""
    counts = _cut(len(members), request.rng.dirichlet(np.full(request.clients, request.alpha)))
    owner[request.rng.permutation(members)] = np.repeat(np.arange(request.clients), counts)


def _cut(size: int, proportions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns a number of examples, cut up in these proportions."""
    cuts = np.minimum(np.cumsum(proportions) * size, size).astype(np.int64)
    cuts[-1] = size
    return np.diff(cuts, prepend=0)


def _pathological(request: _Request) -> Indices:
    """Each client holds `classes_per_client` classes; a class is split evenly over the clients that hold it.

    The label skew of McMahan et al. 2017 (arXiv:1602.05629, section 3) with exact numbers of classes ("#C = k" in
    arXiv:2102.02079). Every class is used: with fewer clients * classes_per_client than classes, some clients get more.
    """
    labels, clients, rng = request.labels, request.clients, request.rng
    sizes = np.bincount(labels)
    if request.classes_per_client > len(sizes):
        raise InputError(f"classes_per_client is {request.classes_per_client}, but there are {len(sizes)} classes.")
    holders: list[list[int]] = [[] for _ in sizes]
    held = np.zeros(len(sizes))
    ties = rng.random((clients, len(sizes)))
    for client in range(clients):
        # The classes with the fewest holders for their size, so that clients end up with similar numbers of examples.
        load = np.where(held < sizes, held / sizes, np.inf)
        for label in np.lexsort((ties[client], load))[: request.classes_per_client]:
            held[label] += 1
            holders[label].append(client)
    for turn, label in enumerate(np.flatnonzero(held == 0)):
        holders[label].append(turn % clients)
    owner = np.empty(len(labels), np.int64)
    for label, owners in enumerate(holders):
        members = rng.permutation(np.flatnonzero(labels == label))
        owner[members] = np.array(owners)[np.arange(len(members)) * len(owners) // len(members)]
    return owner


def _shard(request: _Request) -> Indices:
    """Examples sorted by label are cut into clients * shards_per_client shards, which are dealt at random.

    McMahan et al. 2017 (arXiv:1602.05629, section 3): 200 shards of 300 for 100 clients.
    """
    count, shards = len(request.labels), request.clients * request.shards_per_client
    if shards > count:
        raise InputError(
            f"{request.clients} clients x {request.shards_per_client} shards are {shards} shards, but there are only "
            f"{count} examples; lower shards_per_client or clients."
        )
    shuffled = request.rng.permutation(count)
    by_label = shuffled[np.argsort(request.labels[shuffled], kind="stable")]
    owner = np.empty(count, np.int64)
    owner[by_label] = request.rng.permutation(shards)[np.arange(count) * shards // count] // request.shards_per_client
    return owner


def _feature(request: _Request) -> Indices:
    """Clients differ in brightness, not in labels: client 0 gets the darkest images of every class.

    Score of an example = its rank in mean brightness within its class, in [0, 1), + alpha * N(0, 1); clients get
    equally long runs of the sorted scores. alpha -> 0: disjoint bands of brightness; alpha -> infinity: IID.
    """
    if request.images is None or len(request.images) != len(request.labels):
        raise InputError("The partition 'feature' sorts by brightness: pass images, one for each label.")
    labels, count = request.labels, len(request.labels)
    flat = request.images.reshape(count, -1)
    brightness = flat.sum(axis=1, dtype=np.uint64 if flat.dtype.kind in "bu" else np.float64)
    order = np.lexsort((request.rng.random(count), brightness, labels))
    sizes = np.bincount(labels)
    score = np.empty(count)
    score[order] = (np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)) / np.repeat(sizes, sizes)
    score += request.alpha * request.rng.standard_normal(count)
    owner = np.empty(count, np.int64)
    owner[np.argsort(score, kind="stable")] = np.arange(count) * request.clients // count
    return owner


METHODS: dict[str, Callable[[_Request], Indices]] = {
    "iid": _iid,
    "dirichlet": _dirichlet,
    "pathological": _pathological,
    "shard": _shard,
    "quantity": _quantity,
    "feature": _feature,
}
"""Name -> function that returns the owner of each example; the first line of its docstring describes it."""


def partition(
    labels: NDArray[Any],
    clients: int,
    method: str,
    rng: np.random.Generator,
    *,
    alpha: float = 0.5,
    classes_per_client: int = 2,
    shards_per_client: int = 2,
    minimum: int | None = None,
    balanced: bool = False,
    images: NDArray[Any] | None = None,
) -> list[Indices]:
    """Divides examples over clients.

    Args:
        labels: (n,) integer class of each example.
        clients: Number of clients.
        method: A name in `METHODS`.
        rng: The result depends on its state and the other arguments, on nothing else.
        alpha: > 0. "dirichlet" and "quantity": concentration; "feature": noise. Smaller is more skewed.
        classes_per_client: For "pathological".
        shards_per_client: For "shard".
        minimum: Every client gets at least so many examples: clients that drew fewer are filled up from the largest.
            Default: 1, or half of the mean size if balanced.
        balanced: "dirichlet": balance sizes and draw again until everybody has the minimum, as FedDF's code does.
        images: (n, ...) inputs; needed by "feature" only.

    Returns:
        For each client the sorted indices of its examples; disjoint, and together all n.

    Raises:
        InputError: A setting is out of range, or there are fewer than clients * minimum examples.
    """
    if minimum is None:
        minimum = -(-len(labels) // max(2 * clients, 1)) if balanced else 1
    settings = {"clients": clients, "classes_per_client": classes_per_client, "shards_per_client": shards_per_client}
    settings["minimum"] = minimum
    problems = [f"{name} is {value}; expected at least 1." for name, value in settings.items() if value < 1]
    if method not in METHODS:
        problems.append(f"Unknown partition {method!r}.{suggestion(method, METHODS)}")
    if balanced and method != "dirichlet":
        problems.append(f"balanced is for the partition 'dirichlet'; received {method!r}.")
    if not (isfinite(alpha) and alpha > 0):
        problems.append(f"alpha is {alpha}; expected a finite number > 0.")
    if not problems and clients * minimum > len(labels):
        problems.append(
            f"{clients} clients x at least {minimum} examples are {clients * minimum}, but there are only "
            f"{len(labels)} examples; lower clients or minimum."
        )
    if problems:
        raise InputError(problems)
    codes = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    least = minimum if balanced else None
    request = _Request(codes, clients, rng, alpha, classes_per_client, shards_per_client, least, images)
    owner = _filled_up(METHODS[method](request), codes, clients, minimum)
    bounds = np.cumsum(np.bincount(owner, minlength=clients))[:-1]
    return np.split(np.argsort(owner, kind="stable"), bounds)


def _filled_up(owner: Indices, labels: NDArray[np.int64], clients: int, minimum: int) -> Indices:
    """Moves examples from the largest clients to those below the minimum, deterministically.

    A giver gives evenly over its examples in label order, so its mix stays; a receiver gets, where the givers have
    them, labels in the proportions that it holds already, and otherwise (or if it is empty) the mix of what is given.
    """
    sizes = np.bincount(owner, minlength=clients)
    lacking = np.maximum(minimum - sizes, 0)
    if not lacking.any():
        return owner
    by_label = np.lexsort((labels, owner))
    given = by_label[_spread(sizes, _surplus(sizes, int(lacking.sum())))]
    given = given[np.argsort(labels[given], kind="stable")]
    receiver = np.repeat(np.arange(clients), lacking)
    turn = np.arange(len(receiver)) - np.repeat(np.cumsum(lacking) - lacking, lacking)
    wish = np.full(len(receiver), -1)
    some = sizes[receiver] > 0
    wish[some] = labels[by_label[_spread(sizes, np.where(sizes > 0, lacking, 0))]]

    owner = owner.copy()
    taken, served = np.zeros(len(given), np.bool_), np.zeros(len(receiver), np.bool_)
    for label in np.unique(wish[some]):
        offers, takers = np.flatnonzero(labels[given] == label), np.flatnonzero(wish == label)
        match = min(len(offers), len(takers))
        owner[given[offers[:match]]] = receiver[takers[:match]]
        taken[offers[:match]] = served[takers[:match]] = True
    # One after the other in label order: each of the remaining receivers gets a mix, not a run of one label.
    rest = np.flatnonzero(~served)
    owner[given[~taken]] = receiver[rest[np.argsort(turn[rest], kind="stable")]]
    return owner


def _surplus(sizes: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Returns how many examples each client gives: the largest are cut down to one common level, `total` in all."""
    low, high = 0, int(sizes.max())
    while low < high:  # the highest level above which there are at least `total` examples
        level = (low + high + 1) // 2
        low, high = (level, high) if np.maximum(sizes - level, 0).sum() >= total else (low, level - 1)
    gives = np.maximum(sizes - low, 0)
    givers = np.flatnonzero(gives)
    gives[givers[np.argsort(sizes[givers], kind="stable")][: gives.sum() - total]] -= 1
    return gives


def _spread(sizes: NDArray[np.int64], counts: NDArray[np.int64]) -> Indices:
    """Returns `counts` evenly spaced positions within each of the consecutive runs of `sizes` elements."""
    run = np.repeat(np.arange(len(sizes)), counts)
    turn = np.arange(len(run)) - np.repeat(np.cumsum(counts) - counts, counts)
    return (np.cumsum(sizes) - sizes)[run] + (2 * turn + 1) * sizes[run] // (2 * counts[run])


def label_distribution(labels: NDArray[Any], parts: Sequence[Indices], classes: int) -> NDArray[np.int64]:
    """Returns the number of examples of each class at each client, (clients, classes)."""
    sizes = np.array([len(part) for part in parts], np.int64)
    owner = np.repeat(np.arange(len(parts)), sizes)
    held = labels[np.concatenate(parts)] if len(parts) else np.empty(0, np.int64)
    return np.bincount(owner * classes + held, minlength=len(parts) * classes).reshape(len(parts), classes)


def partition_digest(parts: Sequence[Indices]) -> str:
    """Returns the SHA-256 of who holds which examples: equal on every node that computed the same partition."""
    digest = sha256(np.array([len(part) for part in parts], "<i8").tobytes())
    for part in parts:
        digest.update(part.astype("<i8", copy=False).tobytes())
    return digest.hexdigest()

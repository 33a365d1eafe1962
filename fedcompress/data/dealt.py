"""Partitions that name an owner of every example; who gets too few is filled up from the largest."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from ..scenario.sections import DataSettings
from .partition import Partition, Pool
from .splits import Indices


class Dealt(Partition):
    """Base of partitions that deal all examples out, whatever the sizes come to."""

    @abstractmethod
    def owners(self, pool: Pool, rng: np.random.Generator) -> Indices:
        """Returns (n,) the client, from 0, that gets each example of the pool."""

    def divide(self, pool: Pool, rng: np.random.Generator) -> list[Indices]:
        clients = self.settings.clients
        owner = filled_up(self.owners(pool, rng), pool.labels, clients, self.settings.least(len(pool)))
        bounds = np.cumsum(np.bincount(owner, minlength=clients))[:-1]
        return np.split(np.argsort(owner, kind="stable"), bounds)


def deal_out(owner: Indices, members: Indices, settings: DataSettings, rng: np.random.Generator) -> None:
    """Deals some examples at random over all clients, in proportions p ~ Dir(alpha).

    Args:
        owner: (n,) owners of all examples, in which those of the members are set.
        members: Positions of the examples that are dealt.
        settings: Their `clients` and `alpha` are used.
        rng: Decides.
    """
    counts = cut_up(len(members), rng.dirichlet(np.full(settings.clients, settings.alpha)))
    owner[rng.permutation(members)] = np.repeat(np.arange(settings.clients), counts)


def cut_up(size: int, proportions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns a number of examples, cut up in these proportions."""
    cuts = np.minimum(np.cumsum(proportions) * size, size).astype(np.int64)
    cuts[-1] = size
    return np.diff(cuts, prepend=0)


def filled_up(owner: Indices, labels: NDArray[np.int64], clients: int, minimum: int) -> Indices:
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

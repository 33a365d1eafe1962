"""dirichlet: each class is divided over the clients in proportions drawn from Dir(alpha).

Yurochkin et al. 2019 (arXiv:1905.12022, section 4). alpha -> 0: a class belongs to one client; alpha -> infinity: IID.
Hsu et al. 2019 draw per client instead of per class; the code of FedDF (Lin et al. 2020, arXiv:2006.07242) draws per
class, too, but balances sizes: a client that has its share gets no more.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from ..dealt import Dealt, cut_up, deal_out
from ..partition import Pool
from ..splits import Indices

TOGETHER = 10
"""Clients that a balanced partition deals with at a time, as FedDF's code does: draws of more hardly ever are."""
DRAWS = 300
"""Draws of a balanced partition. For ten clients and ten classes of equal size at alpha = 0.05 one in 25 was enough."""


class Dirichlet(Dealt):
    """Clients differ in their labels, and, unless `balanced`, in their sizes."""

    balances = True

    def owners(self, pool: Pool, rng: np.random.Generator) -> Indices:
        if self.settings.balanced:
            return self._balanced(pool, rng)
        owner = np.empty(len(pool), np.int64)
        for label in range(int(pool.labels.max()) + 1):
            deal_out(owner, np.flatnonzero(pool.labels == label), self.settings, rng)
        return owner

    def _balanced(self, pool: Pool, rng: np.random.Generator) -> Indices:
        """As the code of FedDF does.

        Clients are dealt with in groups of ten at most, of which each gets an IID part of the examples. In a group the
        next class goes to the clients that have less than the mean; the whole is drawn again until everybody has the
        minimum. Where `DRAWS` draws do not come to it (few classes, or a minimum close to the mean), the best one
        counts.
        """
        labels, clients = pool.labels, self.settings.clients
        least = self.settings.least(len(pool))
        owner = np.empty(len(pool), np.int64)
        groups = np.array_split(np.arange(clients), ceil(clients / TOGETHER))
        ends = [len(pool) * int(group[-1] + 1) // clients for group in groups[:-1]]
        for group, members in zip(groups, np.split(rng.permutation(len(pool)), ends), strict=True):
            by_class = np.bincount(labels[members])
            counts = _balanced_counts(by_class, len(group), self.settings.alpha, rng, least)
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
                counts[label, open_] = cut_up(int(size), rng.dirichlet(np.full(len(open_), alpha)))
        if (fewest := int(counts.sum(axis=0).min())) > most:
            best, most = counts, fewest
        if most >= least:
            break
    return best

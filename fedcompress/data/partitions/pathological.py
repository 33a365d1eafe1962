"""pathological: each client holds `classes_per_client` classes; a class is split evenly over those that hold it.

The label skew of McMahan et al. 2017 (arXiv:1602.05629, section 3) with exact numbers of classes ("#C = k" in
arXiv:2102.02079). Every class is used: with fewer clients * classes_per_client than classes, some clients get more.
"""

from __future__ import annotations

import numpy as np

from ...errors import InputError
from ..dealt import Dealt
from ..partition import Pool
from ..splits import Indices


class Pathological(Dealt):
    """Clients know few classes each."""

    def owners(self, pool: Pool, rng: np.random.Generator) -> Indices:
        labels, clients, each = pool.labels, self.settings.clients, self.settings.classes_per_client
        sizes = np.bincount(labels)
        if each > len(sizes):
            raise InputError(f"classes_per_client is {each}, but the number of classes is {len(sizes)}.")
        holders: list[list[int]] = [[] for _ in sizes]
        holder_counts = np.zeros(len(sizes))
        ties = rng.random((clients, len(sizes)))
        for client in range(clients):
            # The classes with the fewest holders for their size: clients end up with similar numbers of examples.
            load = np.where(holder_counts < sizes, holder_counts / sizes, np.inf)
            for label in np.lexsort((ties[client], load))[:each]:
                holder_counts[label] += 1
                holders[label].append(client)
        for turn, label in enumerate(np.flatnonzero(holder_counts == 0)):
            holders[label].append(turn % clients)
        owner = np.empty(len(labels), np.int64)
        for label, owners in enumerate(holders):
            members = rng.permutation(np.flatnonzero(labels == label))
            owner[members] = np.array(owners)[np.arange(len(members)) * len(owners) // len(members)]
        return owner

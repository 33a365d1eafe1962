"""shard: examples sorted by label are cut into clients * shards_per_client shards, which are dealt at random.

McMahan et al. 2017 (arXiv:1602.05629, section 3): 200 shards of 300 for 100 clients.
"""

from __future__ import annotations

import numpy as np

from fedcompress.units import counted

from ...errors import InputError
from ..dealt import Dealt
from ..partition import Pool
from ..splits import Indices


class Shard(Dealt):
    """Clients know at most about as many classes as they hold shards."""

    def owners(self, pool: Pool, rng: np.random.Generator) -> Indices:
        count, clients, each = len(pool), self.settings.clients, self.settings.shards_per_client
        shards = clients * each
        if shards > count:
            raise InputError(
                f"{counted(clients, 'client')} x {counted(each, 'shard')} are {shards}, but there are only "
                f"{counted(count, 'example')}; lower shards_per_client or clients."
            )
        shuffled = rng.permutation(count)
        by_label = shuffled[np.argsort(pool.labels[shuffled], kind="stable")]
        owner = np.empty(count, np.int64)
        owner[by_label] = rng.permutation(shards)[np.arange(count) * shards // count] // each
        return owner

"""template-name: one line that `fedcompress list partitions` shows. If it is from a paper, cite the paper here.

A partition says who holds which examples. What it returns is checked: each position once at most, and every client gets
the minimum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from fedcompress.data.partition import Partition, Pool
from fedcompress.data.splits import Indices
from fedcompress.parameters import Params


class TemplateNameParams(Params):
    """What `[data.partition_params]` may set. Delete it if there is nothing."""

    ratio: float = Field(2.0, ge=1.0, description="how many times more the largest client has than the smallest")


class TemplateName(Partition):
    """Clients whose sizes grow evenly, with labels at random."""

    Params = TemplateNameParams
    params: TemplateNameParams

    def divide(self, pool: Pool, rng: np.random.Generator) -> Sequence[Indices]:
        """Returns the positions in the pool that each client gets, client 0 first.

        At hand are pool.labels, pool.client_ids (or None) and self.settings, the keys of `[data]`; random numbers come
        from `rng` alone. Clients are tested on their label mix; a method own_tests says otherwise.
        """
        order = rng.permutation(len(pool))
        sizes = np.linspace(1.0, self.params.ratio, self.settings.clients)
        ends = np.round(np.cumsum(sizes) / sizes.sum() * len(pool)).astype(int)
        return np.split(order, ends[:-1])

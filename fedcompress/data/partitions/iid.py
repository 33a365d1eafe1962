"""iid: equal sizes, examples at random."""

from __future__ import annotations

import numpy as np

from ..dealt import Dealt
from ..partition import Pool
from ..splits import Indices


class Iid(Dealt):
    """Every client's labels are those of the data set."""

    def owners(self, pool: Pool, rng: np.random.Generator) -> Indices:
        return rng.permutation(np.arange(len(pool)) % self.settings.clients)

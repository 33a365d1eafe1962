"""quantity: sizes are drawn from Dir(alpha), labels are IID (Li et al., arXiv:2102.02079, section 4.3)."""

from __future__ import annotations

import numpy as np

from ..dealt import Dealt, deal_out
from ..partition import Pool
from ..splits import Indices


class Quantity(Dealt):
    """Clients differ in how many examples they hold."""

    def owners(self, pool: Pool, rng: np.random.Generator) -> Indices:
        owner = np.empty(len(pool), np.int64)
        deal_out(owner, np.arange(len(pool)), self.settings, rng)
        return owner

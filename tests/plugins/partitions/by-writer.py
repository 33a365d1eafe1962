"""by-writer: a client is a few of the people whose examples the data set holds; nobody is at two clients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import Field

from fedcompress.data.partition import Partition, Pool
from fedcompress.data.splits import Indices
from fedcompress.errors import InputError
from fedcompress.parameters import Params
from fedcompress.plugins import Use


class ByWriterParams(Params):
    writers: int = Field(1, ge=1, description="people at one client")


class ByWriter(Partition):
    Params = ByWriterParams
    params: ByWriterParams

    def problems_in(self, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        if use.scenario.data.classes:
            yield "data.classes: leave it out; with some labels alone, a person may have no example."

    def divide(self, pool: Pool, rng: np.random.Generator) -> Sequence[Indices]:
        if pool.client_ids is None:
            raise InputError('data.partition: "by-writer" needs a data set that says whose each example is.')
        people = rng.permutation(np.unique(pool.client_ids))
        each = self.params.writers
        return [
            np.flatnonzero(np.isin(pool.client_ids, people[client * each : (client + 1) * each]))
            for client in range(self.settings.clients)
        ]

"""natural: a client is a person, where the data set says whose each example is (an array `client_ids`).

Of more people than clients so many are drawn. People with fewer examples than the minimum are merged with each other,
in an order that is drawn, or dropped; `fedcompress show` and a run say how many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from ...errors import InputError
from ...parameters import Params
from ..dataset import Dataset
from ..partition import Partition, Pool
from ..splits import Indices


class NaturalParams(Params):
    """Parameters of the natural partition."""

    few: Literal["merge", "drop"] = Field(
        "merge", description="people with fewer examples than data.minimum: several become one client, or none do"
    )


class Natural(Partition):
    """A client is a person."""

    Params = NaturalParams
    params: NaturalParams

    def divide(self, pool: Pool, rng: np.random.Generator) -> Sequence[Indices]:
        owners = _owners(pool)
        sizes = np.bincount(owners)
        least, clients = self.settings.least(len(pool)), self.settings.clients
        client_of = np.where(sizes >= least, np.arange(len(sizes)), -1)
        if self.params.few == "merge":
            _merge(client_of, rng.permutation(np.flatnonzero((sizes < least) & (sizes > 0))), sizes, least)
        candidates = np.unique(client_of[client_of >= 0])
        if len(candidates) < clients:
            raise InputError(
                f"data.clients: received {clients}, but partition natural has {len(candidates)} with at least {least} "
                "examples each; lower clients or data.minimum."
            )
        drawn = np.sort(rng.choice(candidates, clients, replace=False))
        position = np.full(len(sizes) + 1, -1)  # the last is for people who are nobody's
        position[drawn] = np.arange(clients)
        of_example = position[client_of[owners]]
        order = np.argsort(of_example, kind="stable")
        bounds = np.cumsum(np.bincount(of_example + 1, minlength=clients + 1))
        return np.split(order[bounds[0] :], bounds[1:-1] - bounds[0])

    def own_tests(
        self, dataset: Dataset, held: Sequence[Indices], rng: np.random.Generator
    ) -> Sequence[Indices] | None:
        """The test examples of the people whose training examples a client has."""
        if dataset.client_ids is None or dataset.test_client_ids is None:
            return None
        return [np.flatnonzero(np.isin(dataset.test_client_ids, dataset.client_ids[part])) for part in held]

    def notes(self, pool: Pool) -> Iterable[str]:
        sizes = np.bincount(_owners(pool))
        people, least = int((sizes > 0).sum()), self.settings.least(len(pool))
        if small := int(((sizes > 0) & (sizes < least)).sum()):
            done = "merged with each other" if self.params.few == "merge" else "dropped"
            yield f"data.partition: {small:,} of {people:,} people have fewer than {least} examples and are {done}."
        if people - small > self.settings.clients:
            clients = self.settings.clients
            yield f"data.partition: {clients:,} clients are drawn from {people:,} people; others are left out."
        if pool.dataset.test_client_ids is None:
            yield (
                "data.partition: the data set does not say whose each test example is: clients are tested on their "
                "label mix, not on their own people's examples."
            )


def _owners(pool: Pool) -> Indices:
    if pool.client_ids is None:
        raise InputError(
            "partition natural: needs a data set that says whose each example is, as femnist does, a "
            "table (csv:FILE?client=COLUMN, and likewise parquet: and hf:), or an array client_ids in an npz file."
        )
    return np.unique(pool.client_ids, return_inverse=True)[1].astype(np.int64)


def _merge(client_of: Indices, people: Indices, sizes: Indices, least: int) -> None:
    """Has people form clients that reach the minimum, in their order; who is left over joins the last of these."""
    total, members, last = 0, [], -1
    for person in people:
        members.append(person)
        total += int(sizes[person])
        if total >= least:
            last = members[0]
            client_of[members] = last
            total, members = 0, []
    client_of[members] = last

"""Clients and their groups, as the server and its strategies know them, and which client is dealt to which group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from fedcompress.client import ClientStrategy
from fedcompress.compression.base import Compression
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.scenario.sections import GroupSettings
from fedcompress.seeding import SERVER, generator
from fedcompress.units import counted


@dataclass(frozen=True)
class Group:
    """Clients that are alike.

    Attributes:
        settings: As in the scenario, parameters resolved.
        model: Its architecture on this data.
        client: Class of its client strategy.
        client_params: Validated `[groups.params]`.
        compression: Its compression.
        clients: Numbers of its clients, ascending.
    """

    settings: GroupSettings
    model: ModelSpec
    client: type[ClientStrategy]
    client_params: BaseModel
    compression: Compression
    clients: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name in the scenario."""
        return self.settings.name


@dataclass(frozen=True, order=True, slots=True)  # there may be 100,000
class ClientInfo:
    """What a server strategy knows of a client.

    Attributes:
        partition: Its number from 0, which is that of its share of the data (Flower's `partition-id`).
        group: Name of its group.
        model: Name of its architecture.
        examples: Number of its training examples.
    """

    partition: int
    group: str
    model: str
    examples: int


def deal(groups: Sequence[GroupSettings], clients: int, seed: int) -> list[NDArray[np.int64]]:
    """Deals clients to groups: largest remainder of the shares, then a seeded shuffle.

    Raises:
        InputError: A group would get no client.
    """
    quotas = [group.share * clients for group in groups]
    counts = [int(quota + 1e-9) for quota in quotas]
    by_remainder = sorted(range(len(groups)), key=lambda i: (counts[i] - quotas[i], i))
    for i in by_remainder[: clients - sum(counts)]:
        counts[i] += 1
    if empty := [group for group, count in zip(groups, counts, strict=True) if count == 0]:
        raise InputError(
            f"groups.{group.name}.share: {group.share:g} of {counted(clients, 'client')} gives it none; "
            "raise it, or data.clients."
            for group in empty
        )
    order = generator(seed, 0, SERVER, "groups").permutation(clients)
    return [np.sort(part) for part in np.split(order, np.cumsum(counts)[:-1])]

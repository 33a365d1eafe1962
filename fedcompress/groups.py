"""Clients and their groups, as the server and its strategies know them."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from fedcompress.client import ClientStrategy
from fedcompress.compression.base import Compression
from fedcompress.models.architecture import ModelSpec
from fedcompress.scenario.sections import GroupSettings


@dataclass(frozen=True)
class Group:
    """Clients that are alike.

    Attributes:
        settings: As in the scenario, parameters resolved.
        model: Its architecture on this data.
        client: Class of its client strategy.
        client_params: Validated `[groups.params]`.
        compression: Its compression.
        clients: Partitions of its clients, ascending.
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


@dataclass(frozen=True, order=True)
class ClientInfo:
    """What a server strategy knows of a client.

    Attributes:
        partition: Number of its share of the data, which identifies it.
        group: Name of its group.
        model: Name of its architecture.
        examples: Number of its training examples.
    """

    partition: int
    group: str
    model: str
    examples: int

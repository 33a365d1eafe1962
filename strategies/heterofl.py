"""heterofl: averages slices of one global model, nested by their widths (Diao, Ding & Tarokh 2021, "HeteroFL").

Section 3, eq. 1 to 3: each group has the first channels of every layer, as many as its width says, and a weight is the
plain mean over the clients that hold it. A client holds the head's weights of the classes that it has examples of. What
clients do is in `clients/heterofl.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from clients.heterofl import CLASSES, factor_of, folded
from clients.heterofl import HeteroFL as Client
from clients.heterofl import HeteroFLParams as ClientParams
from fedcompress.compression.kinds.slice import Slice
from fedcompress.distillation.tiers import TierParams
from fedcompress.strategy import Arrays, ClientInfo, Group, Reply, State
from strategies.fedavg import FedAvg, FedAvgParams

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class HeteroFLParams(FedAvgParams):
    """Parameters of HeteroFL."""

    by_examples: bool = Field(False, description="weigh clients by their examples, as fedavg does; published: alike")


class HeteroFL(FedAvg):
    """FedAvg over slices; state as there."""

    Params = HeteroFLParams
    params: HeteroFLParams

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from trained_by(use, Client)

    def problems(self) -> list[str]:
        return [
            *super().problems(),
            *tiers_apart(self.params, "whose weights have the scaler in them"),
            *(
                f"groups.model: no client has all channels of {name!r}, so that its global model would be scored "
                "without the scaler; give one group width 1, or params.scaler = false."
                for name in self.models
                if all(_scaled(group) for group in self.groups.values() if group.model.name == name)
            ),
        ]

    def _voices(self, replies: Sequence[Reply]) -> list[float]:
        alike = not self.params.by_examples and not self.params.plain
        return [1.0] * len(replies) if alike else super()._voices(replies)

    def deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        """Returns the client's slice of the global weights, with the scaler that it has been trained with in them."""
        weights = super().deployed(state, client)
        return None if weights is None else self.as_run(self.groups[client.group], weights)

    def as_run(self, group: Group, weights: Arrays) -> Arrays:
        assert isinstance(group.compression, Slice)
        assert isinstance(group.client_params, ClientParams)
        return folded(group.model, weights, factor_of(group.compression, group.client_params))

    def _held(self, reply: Reply) -> Mapping[int, Any]:
        """Which weights a client has, by position: those of its channels, and of the head those of its classes."""
        spec = self.groups[reply.client.group].model
        kernel, bias = spec.head
        held = dict(super()._held(reply) or {})
        (present,) = reply.payload[CLASSES]
        held[kernel] = held.get(kernel, np.ones(spec.template[kernel].shape, bool)) & present
        held[bias] = present
        return held


def _scaled(group: Group) -> bool:
    """Says whether a group's clients train with a scaler that is not one."""
    assert isinstance(group.compression, Slice)
    assert isinstance(group.client_params, ClientParams)
    return factor_of(group.compression, group.client_params) != 1.0


def tiers_apart(params: TierParams, because: str) -> Iterable[str]:
    """Yields that clients cannot train on from tiers, if they are to; a sentence."""
    if params.tiers != "none" and params.tier_start == "tier":
        yield (
            'server.params.tier_start: received "tier", but clients of this strategy cannot train on from a tier, '
            f'{because}; use "global".'
        )


def trained_by(use: Use, client: type) -> Iterable[str]:
    """Yields which groups have clients that are not those of the published method; a sentence each."""
    name = client.__module__.rpartition(".")[2]
    for group in use.groups:
        if not issubclass(group.client, client):
            yield (
                f"groups.{group.settings.name}.client: strategy {use.name!r} averages what clients of its own train, "
                f'received {group.settings.client!r}; use client = "{name}".'
            )

"""nested: a client that also trains the sub-networks that sparser clients will run, taught by its own network.

Each step trains the client's network on the labels, and sub-networks of it under the masks of sparser groups to predict
what it predicts (the sandwich rule with inplace distillation, Yu & Huang 2019, "Universally slimmable networks and
improved training techniques"). The masks are those that the server chooses for groups of the same architecture; they
come with the request. Before pruning begins, and on its own, the client trains as `sgd` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from clients.sgd import SGD
from fedcompress.client import Result, action
from fedcompress.compression.base import Params
from fedcompress.compression.nested import MOST, NESTED, nested_content, unpacked
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.objectives import Objective
from fedcompress.training.sandwich import Sandwich
from fedcompress.wire.content import Content, Payload

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class NestedParams(Params):
    """Parameters of self-distillation; alpha, temperature and weight are 1 in the paper."""

    subnetworks: Literal["all", "smallest", "sandwich"] = Field(
        "sandwich", description="which of them a step trains; sandwich: the smallest, and one of the others by chance"
    )
    alpha: float = Field(1.0, ge=0.0, le=1.0, description="weight of the whole network against the labels")
    temperature: float = Field(1.0, gt=0.0, description="T of the distillation inside the network")
    weight: float = Field(1.0, ge=0.0, description="of each sub-network against the whole network")


class Nested(SGD):
    """SGD on a network and on what sparser clients keep of it."""

    Params = NestedParams
    params: NestedParams

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        assert use.group is not None
        own, where = use.group.settings, f"groups.{use.group.settings.name}.client"
        of_model = [
            group for group in use.groups if group.settings.model == own.model and group.compression is not None
        ]
        sparser = [group for group in of_model if group.settings.sparsity > own.sparsity]
        served = [group for group in sparser if group.compression and group.compression.chooser == "server"]
        if not use.strategy.hands_out_masks:
            strategy = use.scenario.server.strategy
            yield f"{where}: {use.name!r} needs a strategy that hands out masks; {strategy!r} does not."
        elif not served:
            found = ", ".join(group.settings.name for group in sparser) or "no sparser group"
            yield (
                f"{where}: {use.name!r} trains the sub-networks of sparser groups of {own.model!r} whose masks the "
                f"server chooses; received {found}. Give such a group "
                'compression_params.mask = "server", or use client = "sgd".'
            )
        elif len(served) > MOST:
            yield f"{where}: {use.name!r} trains at most {MOST} sub-networks, received {len(served)} sparser groups."

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        return {**super().contents(model), **nested_content(model)}

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains as `sgd` does, and in the same steps the sub-networks whose masks came."""
        return self._fitted(payload, self._objective(payload))

    def _objective(self, payload: Payload) -> Objective:
        masks = unpacked(payload.get(NESTED, []))
        if self.params.subnetworks == "smallest":
            masks = masks[-1:]
        if not masks:
            return self.objective(payload["weights"])
        draws = None
        if self.params.subnetworks == "sandwich" and len(masks) > 2:
            draws = self.rng("subnetworks").integers(2**31 - 1, size=len(self.data), dtype=np.int32)
        return Sandwich(self.params.alpha, self.params.temperature, self.params.weight, masks, draws)

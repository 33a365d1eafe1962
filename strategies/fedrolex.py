"""fedrolex: averages slices of one global model that move on by one channel in each round.

Alam et al. 2022, "FedRolex: Model-heterogeneous federated learning with rolling sub-model extraction" (NeurIPS),
section 3: in round j, from 0, a client of width b trains b K of the K channels of each layer, those from j on, and goes
on at channel 0 after the last; so every client comes to train all of the global model. A weight is the mean over the
clients that hold it, weighted by their examples. Local training is plain: client `sgd`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedcompress.compression.kinds.slice import Slice
from fedcompress.strategy import Arrays, Group, State
from strategies.fedavg import FedAvg
from strategies.heterofl import tiers_apart

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class FedRolex(FedAvg):
    """FedAvg over windows of channels that roll; state as there.

    A client deploys the window that it has trained last.
    """

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        for group in use.groups:
            if group.compression is not None and not isinstance(group.compression, Slice):
                yield (
                    f"groups.{group.settings.name}.compression: strategy {use.name!r} gives each group a width, "
                    f'received {group.settings.compression!r}; use compression = "slice" with compression_params.width.'
                )

    def problems(self) -> list[str]:
        return [*super().problems(), *tiers_apart(self.params, "which has the channels of its own round alone")]

    def covered(self, state: State, model: str) -> Arrays | None:
        """Every weight: what no client holds in this round has been trained in others."""
        return None

    def _choose(self, group: Group, round_number: int, state: State) -> Arrays:
        assert isinstance(group.compression, Slice)
        return group.compression.window(group.model, round_number - 1)

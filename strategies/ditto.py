"""ditto: federated averaging whose clients keep models of their own beside the global one.

Li et al. 2021, "Ditto: Fair and robust federated learning through personalization" (ICML), Algorithm 1. The server is
that of FedAvg; what its global model does for a client is in `clients/ditto.py`. Devices run the clients' own models.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from clients.ditto import Ditto as Client
from fedcompress.strategy import Arrays, ClientInfo, State
from strategies.fedavg import FedAvg
from strategies.heterofl import trained_by

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class Ditto(FedAvg):
    """FedAvg; state as there."""

    personal = True

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from trained_by(use, Client)

    def deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        return None

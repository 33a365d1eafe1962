"""fedbn: averages models but for their batch normalisation, of which each client has its own.

Li et al. 2021, "FedBN: Federated learning on non-IID features via local batch normalization" (ICLR), Algorithm 1. The
server is that of `fedper`, but all clients count the same; what is shared is in `clients/fedbn.py`.
"""

from __future__ import annotations

from clients.fedbn import FedBN as Client
from clients.fedbn import normalising
from strategies.fedper import FedPer


class FedBN(FedPer):
    """State as there."""

    client = Client
    alike = True

    def problems(self) -> list[str]:
        without = [name for name, group in self.groups.items() if not normalising(group.model)]
        return [
            *super().problems(),
            *(
                f"groups.{name}.model: received {self.groups[name].settings.model!r}, which has no batch normalisation "
                "for clients to keep; strategy 'fedbn' needs one that has, such as resnet-20:batch."
                for name in without
            ),
        ]

"""fjord: averages slices of one global model whose clients train by ordered dropout (Horvath et al. 2021, "FjORD").

Section 3.4: each group has the first channels of every layer, up to its p_max, and a weight is the mean over the
clients that hold it, weighted by their examples: mask-aware averaging. What clients do is in `clients/fjord.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from clients.fjord import FjORD as Client
from strategies.fedavg import FedAvg
from strategies.heterofl import trained_by

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class FjORD(FedAvg):
    """FedAvg over slices; state as there."""

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from trained_by(use, Client)

"""fedrep: averages the representations of clients that have classifiers of their own.

Collins et al. 2021, "Exploiting shared representations for personalized federated learning" (ICML), Algorithm 1. The
server is that of `fedper`, where clients are weighted by examples, as in the authors' code (Algorithm 1 counts them
alike); what sets the methods apart is in `clients/fedrep.py`.
"""

from __future__ import annotations

from clients.fedrep import FedRep as Client
from strategies.fedper import FedPer


class FedRep(FedPer):
    """State as there."""

    client = Client

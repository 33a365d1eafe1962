"""fedprox: local training that is held near the global weights (Li et al. 2020, "Federated optimization in
heterogeneous networks")."""

from __future__ import annotations

from pydantic import Field

from clients.sgd import SGD
from fedcompress.compression.base import Params
from fedcompress.training.objectives import Objective, Proximal
from fedcompress.wire.content import Arrays


class FedProxParams(Params):
    """Parameters of FedProx."""

    mu: float = Field(0.01, ge=0.0, description="strength of the proximal term (mu / 2) ||w - w_global||^2")


class FedProx(SGD):
    """SGD with a proximal term; with mu = 0 it is `sgd`."""

    Params = FedProxParams
    params: FedProxParams

    def objective(self, start: Arrays) -> Objective:
        return Proximal(self.params.mu, tuple(start[i] for i in self.model.trainable))

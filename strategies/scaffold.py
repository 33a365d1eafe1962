"""scaffold: averages corrected local training, and keeps the control variate that corrects it.

Karimireddy et al. 2020, "SCAFFOLD: Stochastic controlled averaging for federated learning" (ICML), Algorithm 1:
x <- x + eta_g mean_S(y_i - x), and c <- c + sum_S(c_i+ - c_i) / N, over the clients S of the round, of N. What clients
do is in `clients/scaffold.py`. Both directions carry a control variate beside the model: twice the bytes.

c is the mean of all clients' c_i, weight by weight over those that hold the weight: where masks change, N does, and
what a client had where its mask has dropped a weight goes out of c. A client whose reply is not taken goes back to the
c_i of the last one that was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from clients._dropping import trainable, within
from clients.scaffold import CHANGE, CONTROL
from clients.scaffold import Scaffold as Client
from fedcompress.aggregation import replaced
from fedcompress.strategy import Arrays, Federation, Group, Payload, Reply, State
from strategies._stepping import EqualParams, Remembering
from strategies.fedavg import FedAvgParams


class ScaffoldParams(EqualParams, FedAvgParams):
    """Parameters of SCAFFOLD's server; the defaults are the published ones."""

    learning_rate: float = Field(1.0, gt=0.0, description="eta_g, of the server's step along the clients' mean change")


class Scaffold(Remembering):
    """FedAvg with a control variate for each architecture; state as there, `controls[architecture]`, `holders`."""

    Params = ScaffoldParams
    params: ScaffoldParams
    client = Client

    def initial(self, fed: Federation) -> State:
        controls = {name: [np.zeros_like(a) for a in trainable(m, m.template)] for name, m in self.models.items()}
        return {**super().initial(fed), "controls": controls}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        remembered = self.remembered(state, "controls", replies, lambda reply: reply.payload[CHANGE])
        return {**super().aggregated(fed, state, replies), **remembered}

    def aggregate(self, model: str, replies: Sequence[Reply], old: Arrays) -> Arrays:
        mean, rate = super().aggregate(model, replies, old), np.float32(self.params.learning_rate)
        if rate == 1:
            return mean
        stepped = [x + rate * (y - x) for x, y in zip(old, mean, strict=True)]
        return replaced(stepped, mean, self.models[model].kinds, "statistic")

    def _request(self, group: Group, state: State, mask: Arrays) -> Payload:
        control: Arrays = state["controls"][group.model.name]
        if mask:
            control = within(group.model, control, group.compression.held(group.model, mask))
        return {**super()._request(group, state, mask), CONTROL: control}

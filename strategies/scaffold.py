"""scaffold: averages corrected local training, and keeps the control variate that corrects it.

Karimireddy et al. 2020, "SCAFFOLD: Stochastic controlled averaging for federated learning" (ICML), Algorithm 1:
x <- x + eta_g mean_S(y_i - x), and c <- c + sum_S(c_i+ - c_i) / N, over the clients S of the round, of N. What clients
do is in `clients/scaffold.py`. Both directions carry a control variate beside the model: twice the bytes.

A reply that is lost leaves c off by what that client's variate has changed by, until the client replies again from
there on; the same holds for the published algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from clients.scaffold import CHANGE, CONTROL, trainable, within
from clients.scaffold import Scaffold as Client
from fedcompress.aggregation import replaced
from fedcompress.strategy import Arrays, Federation, Group, Payload, Reply, State
from strategies._stepping import EqualParams, Stepping


class ScaffoldParams(EqualParams):
    """Parameters of SCAFFOLD's server; the defaults are the published ones."""

    learning_rate: float = Field(1.0, gt=0.0, description="eta_g, of the server's step along the clients' mean change")


class Scaffold(Stepping):
    """FedAvg with a control variate for each architecture; state as there, and `controls[architecture]`."""

    Params = ScaffoldParams
    params: ScaffoldParams
    client = Client

    def initial(self, fed: Federation) -> State:
        controls = {name: [np.zeros_like(a) for a in trainable(m, m.template)] for name, m in self.models.items()}
        return {**super().initial(fed), "controls": controls}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        controls = dict(state["controls"])
        for reply in replies:
            name = reply.client.model
            clients = sum(client.model == name for client in fed.clients)
            changes = zip(controls[name], reply.payload[CHANGE], strict=True)
            controls[name] = [c + change / np.float32(clients) for c, change in changes]
        return {**super().aggregated(fed, state, replies), "controls": controls}

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

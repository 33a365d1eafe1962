"""fedproto: clients of any architectures share what the features of a class are on average, and how many
examples of it they have.

Tan et al. 2022, "FedProto: Federated prototype learning across heterogeneous clients" (AAAI), Algorithm 1: the global
prototype of a class is the mean of the clients', weighted by their examples of it (eq. 6, whose leading 1 / |N_j| would
shrink it by the number of clients; the authors' code has the plain mean: `by_examples = false`).
Architectures have to agree in the number of their features. What clients do is in `clients/fedproto.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from clients.fedproto import EXAMPLES, PROTOTYPES
from clients.fedproto import FedProto as Client
from fedcompress.strategy import Arrays, Federation, Group, Params, Payload, Requests, ServerStrategy, State
from strategies.heterofl import trained_by

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class FedProtoParams(Params):
    """Parameters of FedProto's server."""

    by_examples: bool = Field(True, description="weigh clients by their examples of a class; otherwise alike")


class FedProto(ServerStrategy):
    """There is no global model: each client is scored by its own.

    State: `prototypes` (classes, features) and `examples` (classes,), how many they are the means of; both None before
    the first round. A class that nobody of a round has examples of keeps its prototype.
    """

    Params = FedProtoParams
    params: FedProtoParams
    requires = frozenset({"train_near"})
    personal = True

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from trained_by(use, Client)

    def problems(self) -> list[str]:
        lengths = {name: model.features for name, model in self.models.items()}
        if len(set(lengths.values())) == 1:
            return []
        received = ", ".join(f"{name} {features}" for name, features in lengths.items())
        return [
            "groups.model: strategy 'fedproto' averages features of all architectures, which are of different lengths: "
            f"{received}; use architectures of one length, such as resnet-8, resnet-20 and mlp:100-64 (64)."
        ]

    def initial(self, fed: Federation) -> State:
        return {"prototypes": None, "examples": None}

    def round(self, fed: Federation, state: State) -> State:
        known = state["prototypes"] is not None
        request: Payload = {PROTOTYPES: [state["prototypes"]], EXAMPLES: [state["examples"]]} if known else {}
        replies = fed.call("train_near", Requests(fed.cohort(self.cohort), lambda _: request), {PROTOTYPES, EXAMPLES})
        counts = np.stack([reply.payload[EXAMPLES][0] for reply in replies]).astype(np.int64)
        voices = (counts if self.params.by_examples else counts > 0).astype(np.float64)
        total = np.zeros(replies[0].payload[PROTOTYPES][0].shape, np.float64)
        for reply, voice in zip(replies, voices, strict=True):
            total += voice[:, np.newaxis] * reply.payload[PROTOTYPES][0]
        means = (total / np.maximum(voices.sum(axis=0), 1)[:, np.newaxis]).astype(np.float32)
        examples = counts.sum(axis=0).astype(np.uint32)
        if known:
            kept = examples == 0
            means[kept], examples[kept] = state["prototypes"][kept], state["examples"][kept]
        return {"prototypes": means, "examples": examples}

    def global_model(self, state: State, group: Group) -> Arrays | None:
        return None

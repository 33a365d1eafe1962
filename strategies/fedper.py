"""fedper: averages the part of their models that clients share; the rest never leaves them.

Arivazhagan et al. 2019, "Federated learning with personalization layers", Algorithm 2, weight by weight over the
clients that keep the weight, as in `fedavg`, by their examples unless a method counts them alike. There is no global
model: each client is scored by its own, as it has just trained it. What is shared is for the clients' class to say:
`clients/fedper.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from clients.fedper import SHARED, SHARED_MASK, prunable
from clients.fedper import FedPer as Client
from fedcompress.aggregation import masked_mean, replaced
from fedcompress.strategy import Arrays, Federation, Group, Reply, ServerStrategy, State
from strategies.heterofl import trained_by

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class FedPer(ServerStrategy):
    """State: `shared[architecture]`, the averages."""

    requires = frozenset({"train_shared"})
    personal = True
    client: ClassVar[type[Client]] = Client
    """Whose `shared` says what is averaged."""
    alike: ClassVar[bool] = False
    """Whether all clients count the same in a mean, whatever their examples."""

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from trained_by(use, cls.client)

    def initial(self, fed: Federation) -> State:
        initial = {name: model.initial(self.rng(f"initial.{name}")) for name, model in self.models.items()}
        shared = {name: self.client.shared(model) for name, model in self.models.items()}
        return {"shared": {name: [weights[i] for i in shared[name]] for name, weights in initial.items()}}

    def round(self, fed: Federation, state: State) -> State:
        requests = {name: {SHARED: arrays} for name, arrays in state["shared"].items()}
        cohort = fed.cohort(self.cohort)
        replies = fed.stream("train_shared", {c: requests[c.model] for c in cohort}, expects={SHARED})
        averages = dict(state["shared"])
        for name in averages:
            if of_model := [reply for reply in replies if reply.client.model == name]:
                averages[name] = self._mean(name, of_model, averages[name])
        return {"shared": averages}

    def global_model(self, state: State, group: Group) -> Arrays | None:
        return None

    def _mean(self, model: str, replies: Sequence[Reply], old: Arrays) -> Arrays:
        shared = self.client.shared(self.models[model])
        kernels = [shared.index(i) for i in prunable(self.models[model], shared)]

        def held(reply: Reply) -> dict[int, Any] | None:
            masks = reply.payload.get(SHARED_MASK)
            return dict(zip(kernels, masks, strict=True)) if masks else None

        updates = (reply.payload[SHARED] for reply in replies)
        masked = {i for reply in replies for i in held(reply) or ()}
        voices = [1.0 if self.alike else r.client.examples for r in replies]
        mean = masked_mean(updates, map(held, replies), voices, old, masked)
        return replaced(mean, old, [self.models[model].kinds[i] for i in shared], "constant")

"""fedmd: clients of any architecture reach a consensus on public data; no model is ever sent.

Li & Wang 2019, "FedMD: heterogenous federated learning via model distillation", Algorithm 1: every client trains on its
own data first; then in each round clients send their logits on a public subset, the server averages them, and clients
digest the consensus and revisit their own data.
"""

from __future__ import annotations

from fedcompress.distillation import round as public_round
from fedcompress.distillation.round import PublicRound
from fedcompress.strategy import Arrays, Federation, Group, ServerStrategy, State


class FedMD(ServerStrategy):
    """There is no global model: each client is scored by its own. State: `public`, of the public data."""

    requires = frozenset({"teach", "predict", "study"})
    needs_public = True
    clients_draw_public = True

    def initial(self, fed: Federation) -> State:
        return {"public": public_round.initial(self), "started": []}

    def round(self, fed: Federation, state: State) -> State:
        cohort = fed.cohort(self.cohort)
        public = PublicRound(self, fed, cohort, state)
        started = set(state["started"])
        new, others = ([c for c in cohort if (c.partition in started) is known] for known in (False, True))
        replies = fed.call("teach", dict.fromkeys(new, public.recipe)) if new else []
        replies += fed.call("predict", dict.fromkeys(others, public.recipe)) if others else []
        speakers = public.speakers(replies)
        lesson = public.spoken(speakers)
        if lesson is not None:
            fed.call("study", dict.fromkeys([reply.client for reply in speakers], public.payload(lesson)))
        return {"public": public.state, "started": sorted(started | {client.partition for client in cohort})}

    def global_model(self, state: State, group: Group) -> Arrays | None:
        return None

"""fedmd: clients of any architecture reach a consensus on public data; no model is ever sent.

Li & Wang 2019, "FedMD: heterogenous federated learning via model distillation", Algorithm 1: every client trains on its
own data first; then in each round clients send their logits on a public subset, the server averages them, and clients
digest the consensus and revisit their own data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcompress.distillation.source import LOGITS, rows_kept
from fedcompress.distillation.student import consensus, speaking
from fedcompress.strategy import ServerStrategy, State
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.groups import Group
    from fedcompress.strategy import Federation


class FedMD(ServerStrategy):
    """There is no global model: each client is scored by its own. State: `public`, of the public data."""

    requires = frozenset({"teach", "predict", "study"})
    needs_public = True
    clients_draw_public = True

    def initial(self, fed: Federation) -> State:
        assert self.public is not None
        return {"public": self.public.initial(), "started": []}

    def round(self, fed: Federation, state: State) -> State:
        assert self.public is not None
        cohort = fed.cohort(self.cohort)
        public = self.public.train(fed, cohort, state["public"])
        started = set(state["started"])
        state = {"public": public, "started": sorted(started | {client.partition for client in cohort})}
        recipe = self.public.recipe(fed, public)
        new, others = ([c for c in cohort if (c.partition in started) is known] for known in (False, True))
        replies = fed.call("teach", dict.fromkeys(new, recipe)) if new else []
        replies += fed.call("predict", dict.fromkeys(others, recipe)) if others else []
        examples = self.public.draw(fed, public, recipe)
        if examples is None:
            return state
        replies = speaking(fed, replies, len(examples))
        if not replies:
            return state
        logits = consensus(replies, self.public.source.classes)
        kept = self.public.sift(fed, examples.y, logits)
        if kept is not None:
            lesson = {**recipe, LOGITS: [logits[kept]], **({} if kept.all() else {"kept": rows_kept(kept)})}
            fed.call("study", {reply.client: lesson for reply in replies})
        return state

    def global_model(self, state: State, group: Group) -> Arrays | None:
        return None

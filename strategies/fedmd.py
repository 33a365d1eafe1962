"""fedmd: clients of any architecture reach a consensus on public data; no model is ever sent.

Li & Wang 2019, "FedMD: heterogenous federated learning via model distillation", Algorithm 1: every client first trains
on all labelled public data to convergence, then on its own; in each round clients send their logits on a public subset
(5,000 examples in the paper), the server averages them, and clients digest the consensus and revisit their own data.
How they train is a matter of the client, `fedmd` with the published settings.
"""

from __future__ import annotations

from pydantic import Field

from fedcompress.distillation import round as public_round
from fedcompress.distillation.ensemble import EnsembleParams
from fedcompress.distillation.round import PublicRound
from fedcompress.strategy import Arrays, Federation, Group, ServerStrategy, State


class FedMDParams(EnsembleParams):
    """Parameters of FedMD."""

    pretraining: bool = Field(
        True,
        description="clients begin on the labelled public data, then on their own, to convergence, as published; "
        "otherwise as in any round, on their own data alone",
    )


class FedMD(ServerStrategy):
    """There is no global model: each client is scored by its own. State: `public`, of the public data."""

    Params = FedMDParams
    params: FedMDParams
    requires = frozenset({"predict", "study"})
    needs_public = True
    clients_draw_public = True
    personal = True

    @property
    def beginning(self) -> str:
        """The action of a client that takes part for the first time."""
        return "pretrain" if self.params.pretraining else "teach"

    def problems(self) -> list[str]:
        problems = [
            f"groups.{name}.client: strategy 'fedmd' begins with the action {self.beginning}, which client "
            f'{group.settings.client!r} does not have; use client = "fedmd", or server.params.pretraining = '
            f"{'false' if self.params.pretraining else 'true'}."
            for name, group in self.groups.items()
            if self.beginning not in group.client.actions()
        ]
        if self.params.pretraining and self.public is not None and (problem := self.public.source.without_labels):
            problems.append(f"{problem} Strategy 'fedmd' needs them, or server.params.pretraining = false.")
        return problems

    def warnings(self) -> list[str]:
        if not self.params.pretraining or (self.public is not None and self.public.source.gan is not None):
            return []
        return [
            "server.params.pretraining: the labels of the public examples are used: clients train on them before "
            "they train on their own."
        ]

    def initial(self, fed: Federation) -> State:
        return {"public": public_round.initial(self), "started": []}

    def round(self, fed: Federation, state: State) -> State:
        cohort = fed.cohort(self.cohort)
        public = PublicRound(self, fed, cohort, state)
        started = set(state["started"])
        actions = {client: "predict" if client.partition in started else self.beginning for client in cohort}
        replies = fed.call(actions, dict.fromkeys(cohort, public.recipe), goes_on=public.certain)
        begun, known = ([r for r in replies if (r.client.partition in started) is old] for old in (False, True))
        speakers = public.speakers([*begun, *known])
        lesson = public.spoken(speakers)
        if lesson is not None:
            fed.call("study", dict.fromkeys([reply.client for reply in speakers], public.payload(lesson)))
        return {"public": public.state, "started": sorted(started | {reply.client.partition for reply in begun})}

    def global_model(self, state: State, group: Group) -> Arrays | None:
        return None

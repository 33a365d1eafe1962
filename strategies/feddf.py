"""feddf: averaging, then distilling the ensemble of all clients' models into each average, on public data.

Lin et al. 2020, "Ensemble distillation for robust model fusion in federated learning", Algorithm 1 and 3: models of one
architecture are averaged with each other (here: mask-aware), and every architecture learns from all clients.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from fedcompress.data.federated import Examples
from fedcompress.distillation import round as public_round
from fedcompress.distillation.ensemble import Logits
from fedcompress.distillation.round import PublicRound, trustworthy, voices
from fedcompress.distillation.student import StudentParams, distil
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import Arrays, Federation, Reply, State
from strategies.fedavg import FedAvg, FedAvgParams


class FedDFParams(FedAvgParams, StudentParams):
    """Parameters of FedDF."""

    drop_chance: bool = Field(True, description="leave out teachers at chance level on the server's validation data")
    equal: bool = Field(True, description="teachers count alike, as published; otherwise by their examples")


class FedDF(FedAvg):
    """FedAvg whose averages are students of all clients' models.

    State: that of FedAvg; `public`, of the public data; `teachers`, the last uploads, for the ensemble's accuracy.
    """

    Params = FedDFParams
    params: FedDFParams
    needs_public = True

    def initial(self, fed: Federation) -> State:
        return {**super().initial(fed), "public": public_round.initial(self), "teachers": []}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        """Returns the state after one round's replies: the averages of FedAvg, distilled."""
        state = super().aggregated(fed, state, replies)
        public = PublicRound(self, fed, [reply.client for reply in replies], state)
        teachers = trustworthy(fed, self, replies) if self.params.drop_chance else list(replies)
        weights = voices(teachers, equal=self.params.equal)
        uploads = [_upload(reply, weight) for reply, weight in zip(teachers, weights, strict=True)]
        lesson = public.uploaded(teachers, weights)
        students = {} if lesson is None else self._students(fed, state, *public.collected(lesson))
        return {
            **state,
            "public": public.state,
            "teachers": uploads,
            "weights": {**state["weights"], **students},
        }

    def _students(self, fed: Federation, state: State, samples: Examples, logits: Logits) -> dict[str, Arrays]:
        return {
            name: distil(
                self.trainer(model, fed.round),
                state["weights"][name],
                samples,
                logits,
                self.params,
                self.validation,
                self.covered(state, name),
            )
            for name, model in self.models.items()
        }

    def teachers(self, state: State) -> list[tuple[ModelSpec, Arrays, float]]:
        return [(self.models[t["model"]], t["weights"], t["weight"]) for t in state["teachers"]]


def _upload(reply: Reply, weight: float) -> dict[str, object]:
    return {"model": reply.client.model, "weights": list(reply.payload["weights"]), "weight": weight}

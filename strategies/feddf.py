"""feddf: averaging, then distilling the ensemble of all clients' models into each average, on public data.

Lin et al. 2020, "Ensemble distillation for robust model fusion in federated learning", Algorithm 1 and 3: models of one
architecture are averaged with each other (here: mask-aware), and every architecture learns from all clients.

Settings are those of the paper and its code (epfml/federated-learning-public-code): Adam from 0.001 along a cosine of
at most 10,000 steps of 128 examples; validation every 100 of them, and after 1,000 without a gain it ends; the student
that was best there is kept, never the average that it began with; teachers at chance level stay. Not as there:
gradients are not clipped, and the optimizer is that of `[training]`, Adam unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from fedcompress.data.federated import Examples
from fedcompress.distillation import round as public_round
from fedcompress.distillation.ensemble import EnsembleParams, Logits, Voice, combined
from fedcompress.distillation.round import PublicRound, trustworthy
from fedcompress.distillation.student import StudentParams, distil
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import Arrays, Federation, Reply, State
from strategies.fedavg import FedAvg, FedAvgParams


class FedDFParams(FedAvgParams, StudentParams, EnsembleParams):
    """Parameters of FedDF."""

    block_steps: int = Field(
        100, ge=0, description="steps in a block, through which the optimizer goes on; 0: `epochs`"
    )
    blocks: int = Field(100, ge=1, description="most blocks")
    patience: int = Field(10, ge=1, description="blocks in a row without a gain on validation after which it ends")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="of the learning rate: it stays, or falls along half a cosine over all blocks"
    )
    keep: Literal["best", "trained", "last"] = Field(
        "trained", description="by validation the best of all, the start among them; the best block; or the last block"
    )
    drop_chance: bool = Field(False, description="leave out teachers at chance level on the server's validation data")
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
        good = trustworthy(fed, self, replies) if self.params.drop_chance else list(replies)
        teachers = public.weighable(good)
        voices = public.voices(teachers, equal=self.params.equal)
        uploads = [_upload(reply, voice) for reply, voice in zip(teachers, voices, strict=True)]
        lesson = public.uploaded(teachers, voices)
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
                fed,
            )
            for name, model in self.models.items()
        }

    def teachers(self, state: State) -> list[tuple[ModelSpec, Arrays, float]]:
        return [(self.models[t["model"]], t["weights"], t["weight"]) for t in state["teachers"]]

    def ensemble(self, state: State, opinions: Sequence[Logits]) -> Logits:
        voices = [Voice(teacher["weight"], teacher["counts"]) for teacher in state["teachers"]]
        return combined(self.params, opinions, voices)


def _upload(reply: Reply, voice: Voice) -> dict[str, object]:
    weights = list(reply.payload["weights"])
    return {"model": reply.client.model, "weights": weights, "weight": voice.weight, "counts": voice.counts}

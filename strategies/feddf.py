"""feddf: averaging, then distilling the ensemble of all clients' models into each average, on public data.

Lin et al. 2020, "Ensemble distillation for robust model fusion in federated learning", Algorithm 1 and 3: models of one
architecture are averaged with each other (here: mask-aware), and every architecture learns from all clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from pydantic import Field

from fedcompress.data.federated import Examples
from fedcompress.distillation import ensemble
from fedcompress.distillation.student import StudentParams, distil, opinions, trustworthy, voices
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import State
from fedcompress.wire.content import Arrays
from strategies.fedavg import FedAvg, FedAvgParams

if TYPE_CHECKING:
    from fedcompress.strategy import Federation, Reply


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
        assert self.public is not None
        return {**super().initial(fed), "public": self.public.initial(), "teachers": []}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        """Returns the state after one round's replies: the averages of FedAvg, distilled."""
        assert self.public is not None
        state = super().aggregated(fed, state, replies)
        public = self.public.train(fed, [reply.client for reply in replies], state["public"])
        teachers = trustworthy(fed, self, replies) if self.params.drop_chance else list(replies)
        weights = voices(teachers, equal=self.params.equal)
        uploads = [_upload(reply, weight) for reply, weight in zip(teachers, weights, strict=True)]
        state = {**state, "public": public, "teachers": uploads}
        examples = self.public.draw(fed, public, self.public.recipe(fed, public))
        if examples is None:
            return state
        logits = ensemble.mean_logits(opinions(fed, self, teachers, examples.x), weights)
        kept = self.public.sift(fed, examples.y, logits)
        if kept is None:
            return state
        labels = logits.argmax(axis=1).astype("int32")
        samples = {"x": examples.x[kept], "y": labels[kept], "logits": logits[kept]}
        public, samples = self.public.remember(public, samples)
        return {**state, "public": public, "weights": self._distilled(fed, state, samples)}

    def _distilled(self, fed: Federation, state: State, samples: dict[str, NDArray[Any]]) -> dict[str, Arrays]:
        examples = Examples(samples["x"], samples["y"])
        weights = dict(state["weights"])
        for name, model in self.models.items():
            masks = self.covered(state, name)
            trainer = self.trainer(model, fed.round)
            weights[name] = distil(
                trainer, weights[name], examples, samples["logits"], self.params, self.validation, masks
            )
        return weights

    def teachers(self, state: State) -> list[tuple[ModelSpec, Arrays, float]]:
        return [(self.models[t["model"]], t["weights"], t["weight"]) for t in state["teachers"]]


def _upload(reply: Reply, weight: float) -> dict[str, object]:
    return {"model": reply.client.model, "weights": list(reply.payload["weights"]), "weight": weight}

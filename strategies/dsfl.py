"""dsfl: clients exchange what they think of public data, sharpened; the server learns a global model from it.

Itahara et al. 2021, "Distillation-based semi-supervised federated learning for communication-efficient collaborative
training with non-IID private data" (IEEE Transactions on Mobile Computing), Algorithm 1, with entropy reduction
aggregation: the mean p of the clients' probabilities, sharpened by softmax(p / T). The later "enhanced" form, p^(1 / T)
normalised, is that of SCARLET (Azuma et al. 2025, "Soft-label caching and sharpening for communication-efficient
federated distillation").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedcompress.data.federated import Examples
from fedcompress.distillation import ensemble
from fedcompress.distillation.source import LOGITS, rows_kept
from fedcompress.distillation.student import StudentParams, consensus, distil, speaking
from fedcompress.strategy import ServerStrategy, State
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.groups import Group
    from fedcompress.strategy import Federation


REDUCTIONS = {"era": ensemble.entropy_reduced, "enhanced": ensemble.enhanced_entropy_reduced}


class DSFLParams(StudentParams):
    """Parameters of DS-FL."""

    reduction: Literal["era", "enhanced"] = Field(
        "era", description="what sharpens the mean p: softmax(p / T), as published, or p^(1 / T), normalised"
    )
    sharpening: float = Field(0.1, gt=0.0, description="T of the reduction; enhanced by 1, p stays as it is")


class DSFL(ServerStrategy):
    """State: `weights[architecture]`, the server's students; `public`, of the public data."""

    Params = DSFLParams
    params: DSFLParams
    requires = frozenset({"teach", "digest"})
    needs_public = True
    clients_draw_public = True

    def initial(self, fed: Federation) -> State:
        assert self.public is not None
        weights = {name: model.initial(self.rng(f"initial.{name}")) for name, model in self.models.items()}
        return {"weights": weights, "public": self.public.initial()}

    def round(self, fed: Federation, state: State) -> State:
        assert self.public is not None
        cohort = fed.cohort(self.cohort)
        public = self.public.train(fed, cohort, state["public"])
        state = {**state, "public": public}
        recipe = self.public.recipe(fed, public)
        replies = fed.call("teach", dict.fromkeys(cohort, recipe))
        examples = self.public.draw(fed, public, recipe)
        if examples is None:
            return state
        replies = speaking(fed, replies, len(examples))
        if not replies:
            return state
        mean = consensus(replies, self.public.source.classes, probabilities=True)
        kept = self.public.sift(fed, examples.y, mean)
        if kept is None:
            return state
        logits = REDUCTIONS[self.params.reduction](mean[kept], self.params.sharpening)
        lesson = {**recipe, LOGITS: [logits], **({} if kept.all() else {"kept": rows_kept(kept)})}
        fed.call("digest", {reply.client: lesson for reply in replies})
        samples = {"x": examples.x[kept], "y": logits.argmax(axis=1).astype("int32"), "logits": logits}
        public, samples = self.public.remember(public, samples)
        known = Examples(samples["x"], samples["y"])
        weights = {
            name: distil(
                self.trainer(model, fed.round),
                state["weights"][name],
                known,
                samples["logits"],
                self.params,
                self.validation,
            )
            for name, model in self.models.items()
        }
        return {"weights": weights, "public": public}

    def global_model(self, state: State, group: Group) -> Arrays | None:
        weights: Arrays = state["weights"][group.model.name]
        return weights

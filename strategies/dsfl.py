"""dsfl: clients exchange what they think of public data, sharpened; the server learns a global model from it.

Itahara et al. 2021, "Distillation-based semi-supervised federated learning for communication-efficient collaborative
training with non-IID private data" (IEEE Transactions on Mobile Computing), Algorithm 1, with entropy reduction
aggregation: the mean p of the clients' probabilities, sharpened by softmax(p / T). The later "enhanced" form, p^(1 / T)
normalised, is that of SCARLET (Azuma et al. 2025, "Soft-label caching and sharpening for communication-efficient
federated distillation").
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from fedcompress.distillation import ensemble
from fedcompress.distillation import round as public_round
from fedcompress.distillation.ensemble import EnsembleParams
from fedcompress.distillation.round import PublicRound
from fedcompress.distillation.student import StudentParams, distil
from fedcompress.distillation.tiers import TierParams
from fedcompress.strategy import Arrays, Federation, Group, ServerStrategy, State

REDUCTIONS = {"era": ensemble.entropy_reduced, "enhanced": ensemble.enhanced_entropy_reduced}


class DSFLParams(StudentParams, EnsembleParams, TierParams):
    """Parameters of DS-FL."""

    ensemble: Literal["mean_logits", "mean_probabilities", "class_counts", "sharpened"] = Field(
        "mean_probabilities", description="what the clients say together, before the reduction; see `feddf`"
    )
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
    personal = True  # the server's student is never sent: what a device runs has learnt from the same lesson

    def initial(self, fed: Federation) -> State:
        weights = {name: model.initial(self.rng(f"initial.{name}")) for name, model in self.models.items()}
        return {"weights": weights, "public": public_round.initial(self)}

    def round(self, fed: Federation, state: State) -> State:
        cohort = fed.cohort(self.cohort)
        public = PublicRound(self, fed, cohort, state)
        spoken = fed.call("teach", dict.fromkeys(cohort, public.recipe), goes_on=public.certain)
        speakers = public.speakers(spoken)
        mean = public.spoken(speakers)
        if mean is None:
            return {**state, "public": public.state}
        lesson = replace(mean, logits=REDUCTIONS[self.params.reduction](mean.logits, self.params.sharpening))
        fed.call("digest", dict.fromkeys([reply.client for reply in speakers], public.payload(lesson)))
        samples, logits = public.collected(lesson)
        weights = {
            name: distil(
                self.trainer(model, fed.round),
                state["weights"][name],
                samples,
                logits,
                self.params,
                self.validation,
                None,
                fed,
            )
            for name, model in self.models.items()
        }
        return {"weights": weights, "public": public.state}

    def global_model(self, state: State, group: Group) -> Arrays | None:
        weights: Arrays = state["weights"][group.model.name]
        return weights

"""fedsimkd: the server's teacher lends its head; clients of any size train encoders for it; the teacher learns back.

SimKD (Chen et al. 2022, "Knowledge distillation with the reused teacher classifier") in a federation. In a round
 1. the teacher's head and its features of the public examples go down,
 2. each client matches the features with an encoder and a projector of its own, pruned as its group asks, then trains
    on its own data with the head frozen, and sends back its logits on the public examples,
 3. the teacher learns from the clients' ensemble.
The first `warm_up` rounds have no teacher yet: clients train their plain models, and the teacher learns from those.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedcompress.data.federated import Examples
from fedcompress.distillation import round as public_round
from fedcompress.distillation.ensemble import EnsembleParams
from fedcompress.distillation.projector import head_reused, projected
from fedcompress.distillation.public import FEATURES, HEAD, TEACHER
from fedcompress.distillation.round import PublicRound
from fedcompress.distillation.source import LOGITS
from fedcompress.distillation.student import StudentParams, distil
from fedcompress.distillation.tiers import TierParams
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import Arrays, Federation, Group, ServerStrategy, State


class FedSimKDParams(StudentParams, EnsembleParams, TierParams):
    """Parameters of FedSimKD."""

    objective: Literal["simkd", "head-reuse", "kd"] = Field("simkd", description="what clients learn from the teacher")
    travels: Literal["features", "model"] = Field(
        "features", description="simkd: head and features go down, or the whole teacher, which is often smaller"
    )
    warm_up: int = Field(1, ge=1, description="rounds before the teacher teaches")


class FedSimKD(ServerStrategy):
    """State: `weights`, of the teacher, which is `[server] model`; `public`, of the public data."""

    Params = FedSimKDParams
    params: FedSimKDParams
    requires = frozenset({"encode"})
    needs_public = True
    needs_server_model = True
    clients_draw_public = True
    personal = True

    @property
    def teacher(self) -> ModelSpec:
        """The server's model."""
        assert self.server_model is not None
        return self.server_model

    def initial(self, fed: Federation) -> State:
        return {"weights": self.teacher.initial(self.rng("initial.teacher")), "public": public_round.initial(self)}

    def round(self, fed: Federation, state: State) -> State:
        cohort = fed.cohort(self.cohort)
        public = PublicRound(self, fed, cohort, state)
        request = {**public.recipe, **self._request(fed, state, public.examples)}
        replies = fed.call("encode", dict.fromkeys(cohort, request))
        lesson = public.spoken(public.speakers(replies), equal=False)
        if lesson is None:
            return {**state, "public": public.state}
        samples, logits = public.collected(lesson)
        trainer = self.trainer(self.teacher, fed.round)
        weights = distil(trainer, state["weights"], samples, logits, self.params, self.validation, None, fed)
        return {"weights": weights, "public": public.state}

    def _request(self, fed: Federation, state: State, examples: Examples | None) -> dict[str, Arrays]:
        """Returns what goes down beside the recipe."""
        if fed.round <= self.params.warm_up or examples is None:
            return {}
        weights = state["weights"]
        if self.params.objective == "simkd" and self.params.travels == "model":
            return {TEACHER: weights}
        trainer = self.trainer(self.teacher, fed.round)
        head = {} if self.params.objective == "kd" else {HEAD: self.teacher.head_of(weights)}
        if self.params.objective == "simkd":
            return {**head, FEATURES: [trainer.features(weights, examples.x)]}
        return {**head, LOGITS: [trainer.predict(weights, examples.x)]}

    def client_model(self, group: Group) -> ModelSpec:
        """Returns the student that ends in the teacher's head, unless clients learn from logits alone."""
        reuses = {"simkd": projected, "head-reuse": head_reused}.get(self.params.objective)
        of_projector = ("reduction", "normalisation")
        chosen = {key: getattr(group.client_params, key) for key in of_projector if hasattr(group.client_params, key)}
        return group.model if reuses is None else reuses(group.model, self.teacher, **chosen)

    def global_model(self, state: State, group: Group) -> Arrays | None:
        """Returns the teacher for groups of its architecture; the others have only their clients' models."""
        return state["weights"] if group.model is self.server_model else None

    def own_model(self, state: State) -> tuple[ModelSpec, Arrays]:
        return self.teacher, state["weights"]

"""fedsimkd: the server's teacher lends its head; clients of any size train encoders for it; the teacher learns back.

SimKD (Chen et al. 2022, "Knowledge distillation with the reused teacher classifier") in a federation. In a round
 1. the teacher's head and its features of the public examples go down,
 2. each client matches the features with an encoder and a projector of its own, pruned as its group asks, then trains
    on its own data with the head frozen, and sends back its logits on the public examples,
 3. the teacher learns from the clients' ensemble.
The first `warm_up` rounds have no teacher yet: clients train their plain models, and the teacher learns from those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from fedcompress.data.federated import Examples
from fedcompress.distillation.public import FEATURES, HEAD, TEACHER
from fedcompress.distillation.source import LOGITS
from fedcompress.distillation.student import StudentParams, consensus, distil, speaking
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import ServerStrategy, State
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.federation import Federation, Reply
    from fedcompress.groups import ClientInfo, Group


class FedSimKDParams(StudentParams):
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
        assert self.public is not None
        return {"weights": self.teacher.initial(self.rng("initial.teacher")), "public": self.public.initial()}

    def round(self, fed: Federation, state: State) -> State:
        assert self.public is not None
        cohort = fed.cohort(self.cohort)
        public = self.public.train(fed, cohort, state["public"])
        state = {**state, "public": public}
        recipe = self.public.recipe(fed, public)
        examples = self.public.draw(fed, public, recipe)
        lesson = self._lesson(fed, state, examples)
        replies = fed.call("encode", {client: {**recipe, **lesson} for client in cohort})
        if examples is None:
            return state
        replies = speaking(fed, replies, len(examples))
        return self._taught(fed, state, examples, replies) if replies else state

    def _lesson(self, fed: Federation, state: State, examples: Examples | None) -> dict[str, Arrays]:
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

    def _taught(self, fed: Federation, state: State, examples: Examples, replies: Sequence[Reply]) -> State:
        """Returns the state after the teacher has learned from the ensemble."""
        assert self.public is not None
        logits = consensus(replies, self.teacher.classes, equal=False)
        kept = self.public.sift(fed, examples.y, logits)
        if kept is None:
            return state
        samples = {"x": examples.x[kept], "y": logits[kept].argmax(axis=1).astype(np.int32), "logits": logits[kept]}
        public, samples = self.public.remember(state["public"], samples)
        known = Examples(samples["x"], samples["y"])
        trainer = self.trainer(self.teacher, fed.round)
        weights = distil(trainer, state["weights"], known, samples["logits"], self.params, self.validation)
        return {"weights": weights, "public": public}

    def global_model(self, state: State, group: Group) -> Arrays | None:
        """Returns the teacher for groups of its architecture; the others have only their clients' models."""
        return state["weights"] if group.model is self.server_model else None

    def deployed(self, state: State, client: ClientInfo) -> None:
        """Returns None: what a client deploys is its own student."""

    def own_model(self, state: State) -> tuple[ModelSpec, Arrays]:
        return self.teacher, state["weights"]

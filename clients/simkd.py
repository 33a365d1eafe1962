"""simkd: a client whose model ends in the server's head (SimKD, Chen et al. 2022), fed by an encoder of its own.

Without a teacher in the request it trains its group's plain model: a warm-up, and the control.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from clients.distilling import Distilling, DistillingParams
from fedcompress.client import Result, action
from fedcompress.data.federated import Examples
from fedcompress.distillation.projector import head_reused, projected
from fedcompress.distillation.public import FEATURES, HEAD, TEACHER
from fedcompress.distillation.source import LOGITS
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import CrossEntropy, Distillation, FeatureMatching, Objective
from fedcompress.wire.content import Arrays, Payload


class SimKDParams(DistillingParams):
    """Parameters of a SimKD client."""

    reduction: int = Field(1, ge=1, description="how many times narrower the projector's middle is; the paper's is 2")


class SimKD(Distilling):
    """Learns from the server's teacher on public data, then from its own data, and says what it then thinks.

    What comes decides how: features and a head, SimKD; logits and a head, head reuse; logits alone, plain KD; a whole
    teacher stands for its head and features, which the client then computes itself.
    """

    Params = SimKDParams
    params: SimKDParams

    @action
    def encode(self, payload: Payload, round_number: int) -> Result:
        """Learns from the teacher in the request, if there is one, and from its own data; sends its knowledge."""
        spec, start, lesson = self._lesson(payload)
        loss = 0.0
        if lesson is not None:
            examples, objective = lesson
            learned = self._learn(spec, start, examples, objective, self._mask_of(spec))
            start, loss = learned.weights, learned.loss
        frozen = self._mask_of(spec) if self.compression.frozen(round_number) else None
        trained = self.trainer.of(spec).fit(start, self.data, CrossEntropy(), masks=frozen)
        self._store(spec, trained)
        metrics = {"train_loss": trained.loss, "public_loss": loss}
        return Result(self._knowledge(spec, trained.weights, payload), metrics, trained.weights, spec)

    def _lesson(self, payload: Payload) -> tuple[ModelSpec, Arrays, tuple[Examples, Objective] | None]:
        """Returns the student, where it starts, and what there is to learn on public data."""
        teacher = self.server_model
        if teacher is None or not {HEAD, LOGITS, FEATURES, TEACHER} & payload.keys():
            return self.model, self._start(self.model), None
        examples, _ = self._examples(payload)
        if TEACHER in payload:
            teacher_weights = list(payload[TEACHER])
            head, features = (
                teacher.head_of(teacher_weights),
                self.trainer.of(teacher).features(teacher_weights, examples.x),
            )
        else:
            head, features = list(payload.get(HEAD, [])), np.asarray(payload[FEATURES][0] if FEATURES in payload else 0)
        if LOGITS not in payload:
            spec, objective = projected(self.model, teacher, self.params.reduction), FeatureMatching(features)
            return spec, spec.with_head(self._start(spec), head), (examples, objective)
        logits = Distillation(1.0, self.params.temperature, np.asarray(payload[LOGITS][0]))
        if not head:
            return self.model, self._start(self.model), (examples, logits)
        spec = head_reused(self.model, teacher, self.params.reduction)
        return spec, spec.with_head(self._start(spec), head), (examples, logits)

    def _start(self, spec: ModelSpec) -> Arrays:
        """Where a student starts: where it was left, or else with the encoder of the plain model of the warm-up."""
        if left := self.state.get(f"weights {spec.name}"):
            return list(left)
        weights = spec.initial(self.rng("initial"))
        plain = self.model.encoder_of(self.state.get(f"weights {self.model.name}", []))
        return [*plain, *weights[len(plain) :]]

    def _mask_of(self, spec: ModelSpec) -> Arrays | None:
        return self.state.get(f"mask {spec.name}")

    def _store(self, spec: ModelSpec, trained: Trained) -> None:
        """Keeps the student; what an earlier kind of student left (the warm-up's plain model) is dropped."""
        for name in [key for key in self.state if key.startswith(("weights", "mask"))]:
            del self.state[name]
        self.state[f"weights {spec.name}"] = trained.weights
        if trained.masks:
            self.state[f"mask {spec.name}"] = trained.masks

    def _classifier(self) -> tuple[ModelSpec, Arrays] | None:
        weights = self.state.get(f"weights {self.model.name}")
        return (self.model, list(weights)) if weights else None

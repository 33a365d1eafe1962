"""relay: trains as `sgd` does, and learns back from a pruned model by distillation on its own data."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from clients.sgd import SGD
from fedcompress.client import Result, action
from fedcompress.compression.base import Params
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.objectives import Distillation, FeatureMatching
from fedcompress.wire.content import Content, Payload, weights_content


class RelayParams(Params):
    """Parameters of a client in a relay."""

    alpha: float = Field(0.9, ge=0.0, le=1.0, description="kd: weight of the teacher against the labels")
    temperature: float = Field(4.0, gt=0.0, description="kd: T of the distillation")


class Relay(SGD):
    """Teacher and student are of one architecture, so that SimKD needs no projector."""

    Params = RelayParams
    params: RelayParams

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        return {**super().contents(model), "pruned": weights_content(model.template, kinds=model.kinds)["weights"]}

    @action
    def learn_kd(self, payload: Payload, round_number: int) -> Result:
        """Learns from the pruned model's logits and its own labels."""
        logits = self.trainer.predict(list(payload["pruned"]), self.data.x)
        objective = Distillation(self.params.alpha, self.params.temperature, logits)
        trained = self.trainer.fit(payload["weights"], self.data, objective)
        return Result({"weights": trained.weights}, {"train_loss": trained.loss})

    @action
    def learn_simkd(self, payload: Payload, round_number: int) -> Result:
        """Takes over the pruned model's classifier and learns its features."""
        student, pruned = self.model.with_frozen_head(), list(payload["pruned"])
        features = self.trainer.features(pruned, self.data.x)
        start = student.with_head(payload["weights"], student.head_of(pruned))
        trained = self.trainer.of(student).fit(start, self.data, FeatureMatching(features))
        return Result({"weights": trained.weights}, {"train_loss": trained.loss})

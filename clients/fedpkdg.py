"""fedpkdg: the client of prune + KD + GAN: a `distilling` client that can keep its pruned model to itself.

With `local_alpha` it learns from the global model while it trains, on its own examples, as FedGKD does (Yao et al.
2021, "Local-global knowledge distillation in heterogeneous federated learning with non-IID data"), but as Hinton et al.
weigh it.
"""

from __future__ import annotations

from pydantic import Field

from clients.distilling import Distilling, DistillingParams
from fedcompress.client import Result, action
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import CrossEntropy, Distillation, Objective
from fedcompress.wire.content import Arrays, ArraySpec, Content, Payload

CLASSIFIER, CLASSIFIER_MASK = "classifier", "classifier mask"


class FedPKDGParams(DistillingParams):
    """Parameters of a FedPKDG client."""

    warm_up_epochs: int | None = Field(None, ge=1, description="of the first round; default: [training] epochs")
    local_alpha: float = Field(
        0.0, ge=0.0, le=1.0, description="weight of the global model that came against its own labels; 0: labels alone"
    )
    local_temperature: float = Field(2.0, gt=0.0, description="T of that distillation")


class FedPKDG(Distilling):
    """Prunes and trains its model from the global one; shows all of it, or its classifier and what it predicts."""

    Params = FedPKDGParams
    params: FedPKDGParams

    @classmethod
    def contents(cls, model: ModelSpec) -> dict[str, Content]:
        kernel, bias = (model.template[i].shape for i in model.head)
        declared = {
            CLASSIFIER: Content((ArraySpec(kernel), ArraySpec(bias)), lossless=True, mask=CLASSIFIER_MASK, masked=(0,)),
            CLASSIFIER_MASK: Content((ArraySpec(kernel, "bool"),), lossless=True),
        }
        return {**super().contents(model), **declared}

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights, sends the result, and remembers it."""
        trained = self._trained(payload, round_number)
        sent = {"weights": trained.weights} | ({"mask": trained.masks} if trained.masks else {})
        return Result(sent, {"train_loss": trained.loss})

    @action
    def train_locally(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights and sends the classifier alone."""
        trained = self._trained(payload, round_number)
        sent: dict[str, Arrays] = {CLASSIFIER: self.model.head_of(trained.weights)}
        if trained.masks:
            sent[CLASSIFIER_MASK] = trained.masks[-1:]
        return Result(sent, {"train_loss": trained.loss}, trained.weights)

    def objective(self, start: Arrays) -> Objective:
        """(1 - alpha) CE + alpha T^2 KL(global || local), the global model being the one that it starts from."""
        if not self.params.local_alpha:
            return super().objective(start)
        logits = self.trainer.predict(start, self.data.x)
        return Distillation(self.params.local_alpha, self.params.local_temperature, logits)

    def _trained(self, payload: Payload, round_number: int) -> Trained:
        epochs = self.params.warm_up_epochs if round_number == 1 else None
        start = payload["weights"]
        # In the first round the global model has nothing to teach.
        objective = self.objective(start) if round_number > 1 else CrossEntropy()
        trained = self.trainer.fit(start, self.data, objective, masks=payload.get("mask"), epochs=epochs)
        self._keep(trained)
        return trained

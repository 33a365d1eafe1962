"""fedmd: the client of FedMD: it converges on labelled public data, then on its own, and learns from a consensus.

Li & Wang 2019, "FedMD: heterogenous federated learning via model distillation", Algorithm 1. Settings are those of its
code (diogenes0319/FedMD_clean, CIFAR): Adam at 0.001; at most 20 epochs over all public examples, 128 in a step, until
3 of them bring nothing, at most 25 of 32 of its own until 10 bring nothing; in a round 1 epoch of 256 of the round's
public examples towards the consensus by the mean absolute error between logits, and 4 epochs of 5 on its own. A gain in
accuracy of up to 0.005 on public examples, and of up to 0.001 on its own, counts as none. Validation examples decide,
not the test set as there: a tenth of the public ones, then the client's own. The optimizer is that of `[training]`,
Adam unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from clients.distilling import Distilling, DistillingParams
from fedcompress.client import Result, action
from fedcompress.data.federated import Examples
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import LogitMatching, Objective
from fedcompress.wire.content import Arrays, Payload

GAINS = {"public": 0.005, "own": 0.001}
"""Of what it converges on -> in validation accuracy: a smaller one counts as none."""


class FedMDParams(DistillingParams):
    """Parameters of a client of FedMD."""

    digests: Literal["absolute", "divergence"] = Field(
        "absolute", description="what it minimises towards the consensus: mean absolute error of logits, or divergence"
    )
    batch_size: int = Field(256, ge=1, description="public examples in a step")
    learning_rate: float | None = Field(0.001, gt=0.0, description="of all its trainings")
    public_epochs: int = Field(20, ge=1, description="most passes over all labelled public examples, at the start")
    public_patience: int = Field(3, ge=1, description="passes without a gain after which those end")
    public_batch_size: int = Field(128, ge=1, description="examples in a step of those")
    own_epochs: int = Field(25, ge=1, description="most passes over its own examples, at the start")
    own_patience: int = Field(10, ge=1, description="passes without a gain after which those end")
    own_batch_size: int = Field(32, ge=1, description="examples in a step of those")
    revisit_epochs: int = Field(4, ge=1, description="passes over its own examples in a round")
    revisit_batch_size: int = Field(5, ge=1, description="examples in a step of those")


class FedMD(Distilling):
    """Its model never leaves it."""

    Params = FedMDParams
    params: FedMDParams
    trains_by: ClassVar[Mapping[str, str]] = {
        "learning_rate": "learning_rate",
        "epochs": "revisit_epochs",
        "batch_size": "revisit_batch_size",
    }

    @action
    def pretrain(self, payload: Payload, round_number: int) -> Result:
        """Converges on the labelled public examples, then on its own, and says what it thinks of the public ones."""
        assert self.public is not None
        params, public = self.params, self.public.labelled(payload)
        order = self.rng("public.split").permutation(len(public))
        judging, learning = (Examples(public.x[rows], public.y[rows]) for rows in np.split(order, [len(order) // 10]))
        shared = self._converged(
            "public", self._own_weights(), learning, judging, params.public_epochs, params.public_patience
        )
        trained = self._converged(
            "own", shared.latent, self.data, self.validation, params.own_epochs, params.own_patience
        )
        self._keep(trained)
        knowledge = self._knowledge(self.model, trained.weights, payload)
        return Result(knowledge, {"train_loss": trained.loss}, trained.weights)

    @action
    def study(self, payload: Payload, round_number: int) -> Result:
        """Digests the consensus, then goes over its own data again."""
        self._digested(payload, round_number)
        trained = self.trainer.fit(
            self._own_weights(),
            self.data,
            masks=self._frozen(round_number),
            epochs=self.params.revisit_epochs,
            batch_size=self.params.revisit_batch_size,
            learning_rate=self.params.learning_rate,
        )
        self._keep(trained)
        return Result({}, {"train_loss": trained.loss}, trained.weights)

    def _lesson_of(self, logits: np.ndarray) -> Objective:
        return LogitMatching(logits) if self.params.digests == "absolute" else super()._lesson_of(logits)

    def _converged(
        self, purpose: str, start: Arrays, examples: Examples, validation: Examples, epochs: int, patience: int
    ) -> Trained:
        """Trains pass by pass until `patience` of them bring nothing on validation; without any, all of them."""
        batch_size = self.params.public_batch_size if purpose == "public" else self.params.own_batch_size
        best, waited, trained = -1.0, 0, None
        for epoch in range(epochs):
            trained = self.trainer.fit(
                start if trained is None else trained.latent,
                examples,
                masks=self._frozen(self.trainer.round_number),
                epochs=1,
                batch_size=batch_size,
                learning_rate=self.params.learning_rate,
                purpose=f"{purpose}.{epoch}",
                continued=epoch > 0,
            )
            accuracy = self.trainer.evaluate(trained.weights, validation).accuracy if len(validation) else best + 1.0
            best, waited = (accuracy, 0) if accuracy > best + GAINS[purpose] else (best, waited + 1)
            if waited == patience:
                break
        assert trained is not None
        return trained

    def _frozen(self, round_number: int) -> Arrays | None:
        return self.state.get("mask") if self.compression.frozen(round_number) else None

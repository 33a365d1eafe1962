"""distilling: a client that learns from, and teaches on, public data; also trains a GAN that makes such data.

Every action of `sgd`, and those that feddf, fedmd and dsfl need. Its model is its own: it lasts from round to round.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from clients.generating import Generating
from fedcompress.client import Result, action
from fedcompress.compression.base import Params
from fedcompress.data.federated import Examples
from fedcompress.distillation.source import LABEL_COUNTS, LABELS, LOGITS, kept_rows
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import Distillation, Objective
from fedcompress.wire.content import Arrays, Payload


class DistillingParams(Params):
    """Parameters of a client that distils."""

    teaches: Literal["logits", "labels"] = Field("logits", description="what it says of public examples")
    temperature: float = Field(1.0, gt=0.0, description="T of the distillation")
    epochs: int = Field(1, ge=1, description="passes over the public examples")
    batch_size: int = Field(128, ge=1, description="public examples in a step")
    learning_rate: float | None = Field(None, gt=0.0, description="on public examples; default: that of [training]")


class Distilling(Generating):
    """Trains on its own data, and on what others say of public data."""

    Params = DistillingParams
    params: DistillingParams

    @action
    def teach(self, payload: Payload, round_number: int) -> Result:
        """Trains its own model on its own data, then says what it thinks of the public examples."""
        trained = self.train_alone(payload, round_number)
        assert trained.model is not None
        return Result(self._knowledge(self.model, trained.model, payload), trained.metrics, trained.model)

    @action
    def predict(self, payload: Payload, round_number: int) -> Result:
        """Says what its model thinks of the public examples, without training it."""
        weights = self._own_weights()
        return Result(self._knowledge(self.model, weights, payload), {}, weights)

    @action
    def count_labels(self, payload: Payload, round_number: int) -> Result:
        """Says how many examples of each class it trains on."""
        return Result({LABEL_COUNTS: [np.bincount(self.data.y, minlength=self.model.classes).astype(np.uint32)]})

    @action
    def digest(self, payload: Payload, round_number: int) -> Result:
        """Trains its own model on what all said of the public examples."""
        weights, loss = self._digested(payload, round_number)
        return Result({}, {"train_loss": loss}, weights)

    @action
    def study(self, payload: Payload, round_number: int) -> Result:
        """Digests, then goes over its own data again."""
        self._digested(payload, round_number)
        return self.train_alone(payload, round_number)

    def _own_weights(self) -> Arrays:
        return self.state.get("weights") or self.model.initial(self.rng("initial"))

    def _digested(self, payload: Payload, round_number: int) -> tuple[Arrays, float]:
        examples, rows = self._examples(payload)
        logits = np.asarray(payload[LOGITS][0])
        if len(rows) != len(logits):
            raise InputError(f"{len(logits)} rows of logits for {len(rows)} public examples")
        chosen, objective = Examples(examples.x[rows], examples.y[rows]), self._lesson_of(logits)
        # The mask is the one that training on its own data has chosen; distillation does not choose another.
        trained = self._learn(self.model, self._own_weights(), chosen, objective, self.state.get("mask"))
        self._keep(trained)
        return trained.weights, trained.loss

    def _lesson_of(self, logits: np.ndarray) -> Objective:
        """Returns what learning from others' logits (n, classes) minimises."""
        return Distillation(1.0, self.params.temperature, logits)

    def _learn(
        self, spec: ModelSpec, start: Arrays, examples: Examples, objective: Objective, masks: Arrays | None
    ) -> Trained:
        """Trains on public examples."""
        return self.trainer.of(spec).fit(
            start,
            examples,
            objective,
            masks=masks,
            epochs=self.params.epochs,
            batch_size=self.params.batch_size,
            learning_rate=self.params.learning_rate,
            purpose="public",
        )

    def _examples(self, payload: Payload) -> tuple[Examples, np.ndarray]:
        """Returns the public examples, and which of them the payload speaks of."""
        assert self.public is not None
        examples = self.public.draw(payload)
        return examples, kept_rows(payload, len(examples))

    def _knowledge(self, model: ModelSpec, weights: Arrays, payload: Payload) -> dict[str, Arrays]:
        examples, _ = self._examples(payload)
        logits = self.trainer.of(model).predict(weights, examples.x)
        if self.params.teaches == "labels":
            return {LABELS: [logits.argmax(axis=1).astype(np.uint16)]}
        return {LOGITS: [logits]}

"""relay: trains and prunes, and learns from the other client's model by distillation: on its own data, or generated.

With the other client of the same architecture, weights go to and fro, and the server hands them out. With another
architecture each client keeps a model of its own: the second learns from the first's by distillation while it trains,
and what travels is the plain model, never a projector.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from clients.generating import Generating
from fedcompress.client import Result, action
from fedcompress.compression.base import Params
from fedcompress.data.federated import Examples
from fedcompress.distillation.projector import REDUCTION, projected
from fedcompress.distillation.public import TEACHER
from fedcompress.distillation.source import SEED
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import CrossEntropy, Distillation, FeatureMatching, Objective
from fedcompress.wire.content import Arrays, Content, Payload, weights_content


class RelayParams(Params):
    """Parameters of a client in a relay."""

    alpha: float = Field(0.9, ge=0.0, le=1.0, description="kd: weight of the teacher against the labels")
    temperature: float = Field(4.0, gt=0.0, description="kd: T of the distillation")
    reduction: int = Field(
        REDUCTION, ge=1, description="simkd of another architecture: how many times narrower the projector's middle is"
    )


class Relay(Generating):
    """One of two clients.

    What it learns back costs as many steps as training on its own data does: of a generator it draws as many examples.
    """

    Params = RelayParams
    params: RelayParams

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        return {**super().contents(model), "pruned": weights_content(model.template, kinds=model.kinds)["weights"]}

    @action
    def train_own(self, payload: Payload, round_number: int) -> Result:
        """Trains its own model, taught by the other client's on its own data if that comes, and sends it."""
        frozen = self.state.get("mask") if self.compression.frozen(round_number) else None
        objective = self._taught(payload, self.data) if TEACHER in payload else CrossEntropy()
        trained = self.trainer.fit(self._start(payload), self.data, objective, masks=frozen)
        self._keep(trained)
        sent = {"weights": trained.weights} | ({"mask": trained.masks} if trained.masks else {})
        return Result(sent, {"train_loss": trained.loss})

    @action
    def learn_plain(self, payload: Payload, round_number: int) -> Result:
        """Learns from labels alone: its own, or those that a generator was asked for."""
        examples = self._examples(payload)
        return self._learned(payload, self.trainer.fit(self._start(payload), examples))

    @action
    def learn_kd(self, payload: Payload, round_number: int) -> Result:
        """Learns from the other model's logits and from labels."""
        examples = self._examples(payload)
        objective = self._taught(payload, examples)
        return self._learned(payload, self.trainer.fit(self._start(payload), examples, objective))

    @action
    def learn_simkd(self, payload: Payload, round_number: int) -> Result:
        """Takes over the other model's classifier and learns its features; through a projector where they differ."""
        examples, (teacher, weights) = self._examples(payload), self._teacher(payload)
        objective = FeatureMatching(self.trainer.of(teacher).features(weights, examples.x))
        student = self.model.with_frozen_head() if teacher is self.model else self._bridge(teacher)
        start = self._start(payload) if teacher is self.model else self._student(student, payload)
        start = student.with_head(start, teacher.head_of(weights))
        trained = self.trainer.of(student).fit(start, examples, objective)
        if teacher is self.model:
            return self._learned(payload, trained)
        # The encoder goes on as part of the plain model, with the classifier that this had.
        own = [*trained.weights[: len(self.model.template) - 2], *self.model.head_of(self._start(payload))]
        self.state["weights"], self.state["student"] = own, trained.weights
        return Result({}, {"train_loss": trained.loss}, trained.weights, student)

    def _bridge(self, teacher: ModelSpec) -> ModelSpec:
        return projected(self.model, teacher, self.params.reduction)

    def _student(self, spec: ModelSpec, payload: Payload) -> Arrays:
        """Its own encoder, and the projector as it was left."""
        encoder = self.model.encoder_of(self._start(payload))
        left = self.state.get("student") or spec.initial(self.rng("initial"))
        return [*encoder, *left[len(encoder) :]]

    def _start(self, payload: Payload) -> Arrays:
        """Returns the weights that it goes on from: those that come, or else its own."""
        return payload.get("weights") or self.state.get("weights") or self.model.initial(self.rng("initial"))

    def _examples(self, payload: Payload) -> Examples:
        """Returns what it learns on: examples of the generator that comes, as many as it has itself, or its own."""
        if SEED not in payload:
            return self.data
        assert self.public is not None
        return self.public.draw(payload, len(self.data))

    def _teacher(self, payload: Payload) -> tuple[ModelSpec, Arrays]:
        """Returns the other client's model."""
        if TEACHER not in payload:
            return self.model, list(payload["pruned"])
        (other,) = (model for model in self.models.values() if model is not self.model)
        return other, list(payload[TEACHER])

    def _taught(self, payload: Payload, examples: Examples) -> Objective:
        teacher, weights = self._teacher(payload)
        logits = self.trainer.of(teacher).predict(weights, examples.x)
        return Distillation(self.params.alpha, self.params.temperature, logits)

    def _learned(self, payload: Payload, trained: Trained) -> Result:
        """Sends what it has learned where the server hands models out, and keeps it otherwise."""
        if "weights" in payload:
            return Result({"weights": trained.weights}, {"train_loss": trained.loss})
        self._keep(trained)
        return Result({}, {"train_loss": trained.loss}, trained.weights)

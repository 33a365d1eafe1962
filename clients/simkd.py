"""simkd: a client whose model ends in the server's head (SimKD, Chen et al. 2022), fed by an encoder of its own.

Without a teacher in the request it trains its group's plain model: a warm-up, and the control.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clients.distilling import Distilling, DistillingParams
from fedcompress.client import Result, action
from fedcompress.data.federated import Examples
from fedcompress.distillation.projector import REDUCTION, Normalisation, head_reused, in_turn, projected
from fedcompress.distillation.public import FEATURES, HEAD, TEACHER
from fedcompress.distillation.source import LOGITS
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import CrossEntropy, Distillation, FeatureMatching, Objective, Rehearsal
from fedcompress.wire.content import Arrays, Payload

ERRORS = ("feature_error", "feature_error_after")
VARIANCE = 1e-6
"""Below it a teacher's features are constant."""


class SimKDParams(DistillingParams):
    """Parameters of a SimKD client."""

    reduction: int = Field(REDUCTION, ge=1, description="how many times narrower the projector's middle is; paper: 2")
    normalisation: Normalisation = Field(
        "frozen",
        description="of the projector; batch: the paper's; frozen: the same, but by the statistics of public examples "
        "while it trains on its own",
    )
    beta: float = Field(
        1.0,
        ge=0.0,
        description="simkd: weight of the error on the teacher's public features, in units of their variance, while it "
        "trains on its own examples",
    )
    own_learning_rate: float | None = Field(
        None, gt=0.0, description="simkd: on its own examples once it has matched features; default: that of [training]"
    )


@dataclass(frozen=True, eq=False)
class _Lesson:
    """What a teacher gives.

    Attributes:
        student: What learns on public examples.
        settled: The same model, weight by weight, as it then trains on its own examples.
        start: Weights that it starts from.
        examples: Public.
        objective: What they are learned by.
    """

    student: ModelSpec
    settled: ModelSpec
    start: Arrays
    examples: Examples
    objective: Distillation | FeatureMatching


class SimKD(Distilling):
    """Learns from the server's teacher on public data, then from its own data, and says what it then thinks.

    What comes decides how: features and a head, SimKD; logits and a head, head reuse; logits alone, plain KD; a whole
    teacher stands for its head and features, which the client then computes itself.

    Under a frozen head, labels alone pull the features away from the teacher's. So the client goes over the public
    examples as it trains on its own (`beta`), and prunes while it matches features, not afterwards.
    """

    Params = SimKDParams
    params: SimKDParams

    @action
    def encode(self, payload: Payload, round_number: int) -> Result:
        """Learns from the teacher in the request, if there is one, and from its own data; sends its knowledge.

        Metrics: `feature_error` and `feature_error_after`, the mean squared differences to the teacher's features of
        the public examples before and after it trains on its own data.
        """
        lesson = self._lesson(payload)
        spec = self.model if lesson is None else lesson.student
        frozen = self._mask_of(spec) if self.compression.frozen(round_number) else None
        if lesson is None:
            trained = self.trainer.fit(self._start(spec), self.data, CrossEntropy(), masks=frozen)
            metrics = {"public_loss": 0.0}
        elif isinstance(lesson.objective, FeatureMatching):
            trained, metrics = self._matched(lesson, lesson.objective, frozen)
        else:
            learned = self._learn(spec, lesson.start, lesson.examples, lesson.objective, self._mask_of(spec))
            trained = self.trainer.of(lesson.settled).fit(learned.weights, self.data, CrossEntropy(), masks=frozen)
            metrics = {"public_loss": learned.loss}
        self._store(spec, trained)
        metrics = {"train_loss": trained.loss, **metrics}
        return Result(self._knowledge(spec, trained.weights, payload), metrics, trained.weights, spec)

    def _matched(
        self, lesson: _Lesson, objective: FeatureMatching, masks: Arrays | None
    ) -> tuple[Trained, dict[str, float]]:
        """Returns the student that has matched features and trained on its own data, and how far off it was."""
        learned = self._learn(lesson.student, lesson.start, lesson.examples, objective, masks)
        data = self.data
        local: Objective = CrossEntropy()
        if self.params.beta:
            own, public = len(data), len(lesson.examples)
            data = data.followed_by(lesson.examples)
            features = np.pad(objective.teacher, ((own, 0), (0, 0)))
            beta = self.params.beta / max(float(np.var(objective.teacher)), VARIANCE)
            local = Rehearsal(features, np.repeat([False, True], [own, public]), beta)
        trained = self.trainer.of(lesson.settled).fit(
            learned.weights,
            data,
            local,
            masks=learned.masks or masks,
            learning_rate=self.params.own_learning_rate,
        )
        errors = [self._error(lesson, objective.teacher, weights) for weights in (learned.weights, trained.weights)]
        return trained, {"public_loss": learned.loss, **dict(zip(ERRORS, errors, strict=True))}

    def _error(self, lesson: _Lesson, teacher: NDArray[Any], weights: Arrays) -> float:
        features = self.trainer.of(lesson.student).features(weights, lesson.examples.x)
        return float(np.mean((features.astype(np.float64) - teacher) ** 2))

    def _lesson(self, payload: Payload) -> _Lesson | None:
        """Returns what there is to learn on public data; None if there is no teacher."""
        teacher = self.server_model
        if teacher is None or not {HEAD, LOGITS, FEATURES, TEACHER} & payload.keys():
            return None
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
            return self._under(projected, teacher, head, examples, FeatureMatching(features))
        logits = Distillation(1.0, self.params.temperature, np.asarray(payload[LOGITS][0]))
        if not head:
            return _Lesson(self.model, self.model, self._start(self.model), examples, logits)
        return self._under(head_reused, teacher, head, examples, logits)

    def _under(
        self,
        make: Callable[[ModelSpec, ModelSpec, int, Normalisation], ModelSpec],
        teacher: ModelSpec,
        head: Arrays,
        examples: Examples,
        objective: Distillation | FeatureMatching,
    ) -> _Lesson:
        """Returns a lesson for a student that ends in the teacher's head."""
        params = self.params
        student, settled = (make(self.model, teacher, params.reduction, n) for n in in_turn(params.normalisation))
        return _Lesson(student, settled, student.with_head(self._start(student), head), examples, objective)

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

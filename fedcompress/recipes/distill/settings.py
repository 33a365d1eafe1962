"""What a comparison of distillation methods is made with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedcompress.errors import InputError, suggestion

METHODS = ("plain", "kd", "simkd", "head-reuse")


@dataclass(frozen=True)
class DistillSettings:
    """Settings of `distill`.

    Attributes:
        teacher: Name of the teacher's architecture.
        student: Name of the student's.
        data: Name of a data set.
        methods: Some of `METHODS`. plain: labels alone. kd: labels and the teacher's logits. simkd: the teacher's
            features alone, through a projector, with the teacher's head. head-reuse: as kd, with the teacher's head.
        epochs: Passes over the training examples, of every student.
        teacher_epochs: Likewise, of the teacher.
        seeds: Number of repetitions, with the seeds 1, 2, ...; each draws its own split, teacher and students.
        temperature: T > 0, of kd and head-reuse.
        alpha: Weight of the teacher in [0, 1], of kd and head-reuse.
        reduction: How many times narrower than the teacher's features the middle of the projector of simkd and
            head-reuse is. The paper narrows to a half; models with few channels, as the built-in ones, lose by it.
        sparsity: Fraction of zeros in [0, 1) to which the students are pruned while they learn.
        examples: Number of training examples, stratified; None for all. Teacher and students see the same.
        unlabelled: Number of further training inputs, drawn without their labels, of which kd, simkd and head-reuse
            learn what the teacher says; an epoch of theirs goes over these as well.
        validation: Fraction of the data set's training examples in [0, 1) that nothing is trained on.
        batch_size: Examples in a step.
        learning_rate: Of Adam in the first epoch; it falls to zero along half a cosine.
    """

    teacher: str
    student: str
    data: str
    methods: tuple[str, ...] = METHODS
    epochs: int = 15
    teacher_epochs: int = 15
    seeds: int = 3
    temperature: float = 2.0
    alpha: float = 0.9
    reduction: int = 1
    sparsity: float = 0.0
    examples: int | None = None
    unlabelled: int = 0
    validation: float = 0.1
    batch_size: int = 64
    learning_rate: float = 0.005

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise InputError(problems)

    def _problems(self) -> Iterable[str]:
        yield from (f"method {m!r}: unknown.{suggestion(m, METHODS)}" for m in self.methods if m not in METHODS)
        if not self.methods or len(set(self.methods)) < len(self.methods):
            yield f"methods: received {', '.join(self.methods) or 'none'}; expected one or more, each once."
        for name in ("epochs", "teacher_epochs", "seeds", "reduction", "examples", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                yield f"{name}: received {value}; expected at least 1."
        for name in ("temperature", "learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                yield f"{name}: received {getattr(self, name):g}; expected a number above 0."
        if self.unlabelled < 0:
            yield f"unlabelled: received {self.unlabelled}; expected 0 or more."
        if not 0 <= self.alpha <= 1:
            yield f"alpha: received {self.alpha:g}; expected a number in [0, 1]."
        for name in ("sparsity", "validation"):
            if not 0 <= getattr(self, name) < 1:
                yield f"{name}: received {getattr(self, name):g}; expected a fraction in [0, 1)."

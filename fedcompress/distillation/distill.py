"""One teacher, one student, several ways to train the student with the same budget: `fedcompress distill`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.pruning import resting
from fedcompress.data.dataset import Dataset
from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.data.splits import holdout
from fedcompress.distillation.projector import head_reused, projected
from fedcompress.distillation.settings import DistillSettings
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.seeding import SERVER, generator
from fedcompress.training.objectives import CrossEntropy, Distillation, FeatureMatching, Objective
from fedcompress.training.trainer import Trainer, evaluate, predict
from fedcompress.wire.content import Arrays

TEACHER = "teacher"
"""Stands for the teacher where runs are told apart by method."""


@dataclass(frozen=True)
class Run:
    """One model, trained.

    Attributes:
        method: One of `METHODS`, or `TEACHER`.
        seed: Of data split, initial weights and order of examples, which all methods share.
        parameters: Number of weights that inference needs, projector and reused head included.
        sparsity: Fraction of zeros among the weights of all kernels.
        validation: Accuracy on the examples held out; NaN if there are none.
        test: Accuracy on the test set.
        seconds: Of training; the teacher's own is not part of its students'.
    """

    method: str
    seed: int
    parameters: int
    sparsity: float
    validation: float
    test: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """What `distill` found.

    Attributes:
        settings: What it was made with.
        data_digest: SHA-256 of the data set.
        runs: By seed; of each the teacher, then the students.
    """

    settings: DistillSettings
    data_digest: str
    runs: tuple[Run, ...]

    def of(self, method: str) -> list[Run]:
        """Returns the runs of a method, by seed."""
        return [run for run in self.runs if run.method == method]


def distill(
    settings: DistillSettings,
    *,
    data_dir: Path | None = None,
    plugins: Plugins | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Trains a teacher, then the same student by each method, and repeats that with other seeds.

    A part of the training examples is held out: settings are to be chosen by it, and the test set is only reported.

    Args:
        settings: What to compare.
        data_dir: Where data sets are looked for first.
        plugins: Finds models and data sets by name.
        progress: Is told what is being trained, how many epochs are done, and how many there are; at the start, too.

    Raises:
        InputError: A name is unknown, the data cannot be read, or a model does not fit it.
    """
    plugins = plugins or Plugins()
    dataset = _dataset(settings, plugins, data_dir)
    teacher, student = (_model(name, dataset, plugins) for name in (settings.teacher, settings.student))
    students = {method: _student(method, student, teacher, settings.reduction) for method in settings.methods}
    total = settings.seeds * (settings.teacher_epochs + len(students) * settings.epochs)
    done = 0

    def tick(what: str) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(what, done, total)

    runs: list[Run] = []
    for seed in range(1, settings.seeds + 1):
        repetition = _Repetition(settings, dataset, seed, tick)
        if progress and not done:
            progress(f"seed {seed}, {TEACHER}", 0, total)
        runs += repetition.runs(teacher, students)
    return Comparison(settings, dataset.digest, tuple(runs))


def _dataset(settings: DistillSettings, plugins: Plugins, data_dir: Path | None) -> Dataset:
    checks = (
        ("teacher", "models", settings.teacher),
        ("student", "models", settings.student),
        ("data", "datasets", settings.data),
    )
    if problems := [f"{key}: {problem}" for key, kind, name in checks if (problem := plugins.check(kind, name))]:
        raise InputError(problems)
    return load_dataset(settings.data, data_dir=data_dir, plugins=plugins)


def _model(name: str, dataset: Dataset, plugins: Plugins) -> ModelSpec:
    spec = ModelSpec(name, plugins.architecture(name), dataset.x_train.shape[1:], dataset.classes)
    spec.check(dataset.name)
    return spec


def _student(method: str, student: ModelSpec, teacher: ModelSpec, reduction: int) -> ModelSpec:
    if method == "simkd":
        return projected(student, teacher, reduction)
    return head_reused(student, teacher, reduction) if method == "head-reuse" else student


class _Repetition:
    """Everything that is trained with one seed."""

    def __init__(self, settings: DistillSettings, dataset: Dataset, seed: int, tick: Callable[[str], None]) -> None:
        self._settings = settings
        self._seed = seed
        self._tick = tick
        x, y = dataset.x_train, dataset.y_train
        train, held = holdout(y, settings.validation, self._rng("validation"))
        if settings.examples is not None:
            train = train[self._chosen(y[train], settings.examples)]
        self._examples, self._validation = Examples(x[train], y[train]), Examples(x[held], y[held])
        self._test = Examples(dataset.x_test, dataset.y_test)

    def _rng(self, purpose: str, epoch: int = 0) -> np.random.Generator:
        return generator(self._seed, epoch, SERVER, f"distill.{purpose}")

    def _chosen(self, labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
        if count > len(labels):
            raise InputError(f"examples: received {count}; there are {len(labels)} to train on.")
        rest, _ = holdout(labels, 1 - count / len(labels), self._rng("examples"))
        return rest

    def runs(self, teacher: ModelSpec, students: dict[str, ModelSpec]) -> Iterator[Run]:
        """Trains the teacher, then every student."""
        start = teacher.initial(self._rng(f"initial.{TEACHER}"))
        weights, seconds = self._train(TEACHER, teacher, start, CrossEntropy())
        yield self._scored(TEACHER, teacher, weights, seconds)
        for method, student in students.items():
            start = student.initial(self._rng("initial.student"))
            if student.reuses_head:
                start = student.with_head(start, [weights[i] for i in teacher.head])
            learned, seconds = self._train(method, student, start, self._objective(method, teacher, weights))
            yield self._scored(method, student, learned, seconds)

    def _objective(self, method: str, teacher: ModelSpec, weights: Arrays) -> Objective:
        if method == "plain":
            return CrossEntropy()
        known = predict(teacher, weights, self._examples.x, features=method == "simkd")
        if method == "simkd":
            return FeatureMatching(known)
        return Distillation(self._settings.alpha, self._settings.temperature, known)

    def _train(self, method: str, spec: ModelSpec, start: Arrays, objective: Objective) -> tuple[Arrays, float]:
        """Trains epoch by epoch, each as a round of a federation: the optimizer's state starts anew in it."""
        settings, is_teacher = self._settings, method == TEACHER
        epochs = settings.teacher_epochs if is_teacher else settings.epochs
        compression = _compression(0.0 if is_teacher else settings.sparsity, epochs)
        training = TrainingSettings(batch_size=settings.batch_size, learning_rate=settings.learning_rate)
        weights, masks, started = start, None, time.perf_counter()
        for epoch in range(1, epochs + 1):
            trainer = Trainer(spec, compression, training, epoch, partial(self._rng, epoch=epoch))
            rate = settings.learning_rate * (1 + cos(pi * (epoch - 1) / epochs)) / 2
            kept = masks if compression.frozen(epoch) else None
            trained = trainer.fit(weights, self._examples, objective, masks=kept, learning_rate=rate)
            weights, masks = trained.weights, trained.masks or None
            self._tick(f"seed {self._seed}, {method}")
        return weights, time.perf_counter() - started

    def _scored(self, method: str, spec: ModelSpec, weights: Arrays, seconds: float) -> Run:
        return Run(
            method=method,
            seed=self._seed,
            parameters=spec.parameters,
            sparsity=masking.sparsity(weights, spec.kernels),
            validation=evaluate(spec, weights, self._validation).accuracy,
            test=evaluate(spec, weights, self._test).accuracy,
            seconds=seconds,
        )


def _compression(sparsity: float, epochs: int) -> Compression:
    if sparsity == 0:
        return resting(epochs, masked=False)
    return Magnitude(MagnitudeParams(scope="layer"), sparsity=sparsity, rounds=epochs)

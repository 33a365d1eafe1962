"""One teacher, one student, several ways to train the student with the same budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.data.dataset import Dataset
from fedcompress.data.loading import load_dataset
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.recipes.bench import Bench, CurvePoint
from fedcompress.recipes.distill.settings import DistillSettings
from fedcompress.recipes.loading import Split, named_model, split
from fedcompress.recipes.method import Method, Outcome
from fedcompress.recipes.recipe import RecipeData, RecipeTraining
from fedcompress.recipes.runner import Observer
from fedcompress.seeding import SERVER, generator
from fedcompress.training.trainer import evaluate
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
        seconds: Of training, validation after each epoch included; the teacher's own is not part of its students'.
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
    """What `distill` returns.

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
    observer: Observer | None = None,
) -> Comparison:
    """Trains a teacher, then the same student by each method, and repeats that with other seeds.

    A part of the training examples is held out: settings are to be chosen by it, and the test set is only reported.

    Args:
        settings: What to compare.
        data_dir: Where data sets are looked for first.
        plugins: Finds models and data sets by name.
        observer: Is told how it goes on, as with a recipe.

    Raises:
        InputError: A name is unknown, the data cannot be read, or a model does not fit it.
    """
    plugins = plugins or Plugins()
    dataset = _dataset(settings, plugins, data_dir)
    model = partial(named_model, dataset=dataset, plugins=plugins)
    teacher, student = model(settings.teacher), model(settings.student)
    students = {name: _method(name, settings, plugins) for name in settings.methods}
    observer = observer or Observer()
    runs: list[Run] = []

    def train(name: str, method: Method, bench: Bench) -> Arrays:
        observer.started(name, bench.seed, len(runs) + 1, settings.seeds * (1 + len(students)))
        started = time.perf_counter()
        (outcome,) = method.run(bench)
        runs.append(_scored(name, bench, outcome, time.perf_counter() - started))
        observer.outcome({**asdict(runs[-1]), "step": ""})
        return outcome.weights

    for seed in range(1, settings.seeds + 1):
        bench = partial(_Bench, settings, _split(dataset, settings, seed), seed, model, observer.epoch_done)
        weights = train(TEACHER, _method("plain", settings, plugins), bench(teacher))
        for name, method in students.items():
            train(name, method, bench(student, teacher=(teacher, weights)))
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


def _split(dataset: Dataset, settings: DistillSettings, seed: int) -> Split:
    data = RecipeData(
        dataset=settings.data,
        examples=settings.examples,
        validation=settings.validation,
        unlabelled=settings.unlabelled,
    )
    try:
        return split(dataset, data, partial(_rng, seed))
    except InputError as error:
        raise InputError([problem.removeprefix("data.") for problem in error.problems]) from error


def _rng(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    return generator(seed, epoch, SERVER, f"distill.{purpose}")


def _method(name: str, settings: DistillSettings, plugins: Plugins) -> Method:
    """Returns a method with those of its parameters that a comparison sets."""
    kind: type[Method] = plugins.load("methods", name)
    shared = {"teacher", "temperature", "alpha", "reduction"} & kind.Params.model_fields.keys()
    return kind(kind.Params(**{key: getattr(settings, key) for key in shared}))


class _Bench(Bench):
    """What a method works with here: a student's bench if there is a teacher, else the teacher's own.

    Initial weights and the order of examples are the same for all students. A sparsity is reached while they learn.
    """

    def __init__(
        self,
        settings: DistillSettings,
        data: Split,
        seed: int,
        model: Callable[[str], ModelSpec],
        progress: Callable[[CurvePoint], None],
        spec: ModelSpec,
        teacher: tuple[ModelSpec, Arrays] | None = None,
    ) -> None:
        training = RecipeTraining(
            epochs=settings.epochs if teacher else settings.teacher_epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
        )
        super().__init__(spec, data, seed, training, model=model, memory={}, progress=progress)
        self._sparsity = settings.sparsity if teacher else 0.0
        self._teacher = teacher

    def rng(self, purpose: str, epoch: int = 0) -> np.random.Generator:
        what = purpose.partition(".")[0]
        role = "student" if self._teacher else TEACHER
        return _rng(self.seed, f"{what}.{role}" if what == "initial" else what, epoch)

    def teacher(self, name: str, epochs: int | None = None) -> tuple[ModelSpec, Arrays]:
        assert self._teacher is not None
        return self._teacher

    def default_compression(self, epochs: int, *, masked: bool) -> Compression:
        if not self._sparsity:
            return super().default_compression(epochs, masked=masked)
        return Magnitude(MagnitudeParams(scope="layer"), sparsity=self._sparsity, rounds=epochs)


def _scored(name: str, bench: Bench, outcome: Outcome, seconds: float) -> Run:
    spec, weights = outcome.spec or bench.spec, outcome.weights
    return Run(
        method=name,
        seed=bench.seed,
        parameters=spec.parameters,
        sparsity=masking.sparsity(weights, spec.kernels),
        validation=bench.validate(weights, spec),
        test=evaluate(spec, weights, bench.data.test).accuracy,
        seconds=seconds,
    )

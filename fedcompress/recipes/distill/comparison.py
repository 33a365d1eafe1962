"""One teacher, one student, several ways to train the student with the same budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.data.dataset import Dataset
from fedcompress.data.loading import load_dataset
from fedcompress.errors import InputError, RunError
from fedcompress.models.architecture import ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.recipes.bench import Bench, CurvePoint
from fedcompress.recipes.distill.runs import TEACHER, Comparison, Kept, Run
from fedcompress.recipes.distill.settings import DistillSettings
from fedcompress.recipes.loading import Split, named_model, split
from fedcompress.recipes.method import Method, Outcome
from fedcompress.recipes.recipe import RecipeData, RecipeTraining
from fedcompress.recipes.runner import Observer
from fedcompress.seeding import SERVER, generator
from fedcompress.training.trainer import evaluate
from fedcompress.wire.content import Arrays


def distill(
    settings: DistillSettings,
    *,
    data_dir: Path | None = None,
    plugins: Plugins | None = None,
    observer: Observer | None = None,
    kept: Kept | None = None,
) -> Comparison:
    """Trains a teacher, then the same student by each method, and repeats that with other seeds.

    A part of the training examples is held out: settings are to be chosen by it, and the test set is only reported.

    Args:
        settings: What to compare.
        data_dir: Where data sets are looked for first.
        plugins: Finds models and data sets by name.
        observer: Is told how it goes on, as with a recipe.
        kept: What has been trained, which is not trained again, and gets what is; None for nothing.

    Raises:
        InputError: A name is unknown, the data cannot be read, or a model does not fit it.
        RunError: A training diverged.
    """
    return Session(settings, plugins or Plugins(), data_dir).run(kept or Kept(), observer or Observer())


class Session:
    """A comparison whose names, data and models have been found and fit each other.

    Args:
        settings: What to compare.
        plugins: Finds models and data sets by name.
        data_dir: Where data sets are looked for first.

    Raises:
        InputError: A name is unknown, the data cannot be read, or a model does not fit it.
    """

    def __init__(self, settings: DistillSettings, plugins: Plugins, data_dir: Path | None = None) -> None:
        self._settings, self._plugins = settings, plugins
        self._dataset = _dataset(settings, plugins, data_dir)
        self._model = partial(named_model, dataset=self._dataset, plugins=plugins)
        self._teacher, self._student = self._model(settings.teacher), self._model(settings.student)
        _split(self._dataset, settings, 1)

    @property
    def data_digest(self) -> str:
        """SHA-256 of the data set."""
        return self._dataset.digest

    def run(self, kept: Kept, observer: Observer) -> Comparison:
        """Trains what is missing, seed by seed: the teacher, then its students.

        Args:
            kept: What has been trained; gets the rest.
            observer: Is told how it goes on.

        Raises:
            RunError: A training diverged.
        """
        settings = self._settings
        asked = [(name, seed) for seed in range(1, settings.seeds + 1) for name in (TEACHER, *settings.methods)]

        def train(name: str, bench: Bench) -> Arrays:
            observer.started(name, bench.seed, asked.index((name, bench.seed)) + 1, len(asked))
            method = _method("plain" if name == TEACHER else name, settings, self._plugins)
            started = time.perf_counter()
            try:
                (outcome,) = method.run(bench)
            except FloatingPointError as error:
                raise RunError(f"{name}, seed {bench.seed}: {error}") from error
            run = _scored(name, bench, outcome, time.perf_counter() - started)
            kept.add(run, outcome.weights)
            observer.outcome({**asdict(run), "step": ""})
            return outcome.weights

        for seed in range(1, settings.seeds + 1):
            missing = [name for name in settings.methods if not kept.has(name, seed)]
            if kept.has(TEACHER, seed) and not missing:
                continue
            data = _split(self._dataset, settings, seed)
            bench = partial(_Bench, settings, data, seed, self._model, observer.epoch_done)
            weights = kept.teacher(seed)
            if weights is None or not kept.has(TEACHER, seed):  # a kill may have come between the two
                weights = train(TEACHER, bench(self._teacher))
            for name in missing:
                train(name, bench(self._student, teacher=(self._teacher, weights)))
        return Comparison(settings, self.data_digest, kept.versions, tuple(kept.of(name, seed) for name, seed in asked))


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

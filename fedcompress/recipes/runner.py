"""Runs a recipe: every experiment with every seed, results on disk after each, nothing finished done twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ValidationError

from fedcompress.compression import masks as masking
from fedcompress.compression import size
from fedcompress.data.loading import load_dataset
from fedcompress.errors import FedcompressError, InputError, RunError
from fedcompress.models.architecture import ModelSpec
from fedcompress.plugins import Plugins, parameter_problems
from fedcompress.recipes.bench import Bench, CurvePoint, split
from fedcompress.recipes.method import Method, Outcome
from fedcompress.recipes.recipe import ExperimentSettings, Recipe
from fedcompress.results.run_directory import RunDirectory
from fedcompress.training.trainer import predict

Row = dict[str, Any]

WEIGHTLESS = frozenset({"BatchNormalization", "LayerNormalization", "Normalization", "Rescaling"})
"""Layers whose few weights nobody compresses."""


class Observer(Protocol):
    """Is told how a recipe goes on."""

    def started(self, label: str, seed: int, number: int, total: int) -> None:
        """Experiment `number` of `total` begins."""

    def epoch_done(self, point: CurvePoint) -> None:
        """An epoch has been trained."""

    def outcome(self, row: Row) -> None:
        """A row is there."""


@dataclass(frozen=True)
class Task:
    """One experiment with one seed."""

    number: int
    settings: ExperimentSettings
    method: Method
    spec: ModelSpec
    seed: int

    @property
    def stem(self) -> str:
        """Name of its files."""
        slug = re.sub(r"[^\w.-]+", "-", self.settings.label).strip("-.")
        return f"{self.number:02d}-{slug}-seed{self.seed}"


class Session:
    """A recipe made concrete: data loaded, models and methods found, everything checked before anything is trained.

    Args:
        recipe: What to run.
        plugins: Finds models, data sets and methods by name.
        data_dir: Where data sets are looked for first.

    Raises:
        InputError: Everything that is wrong, a line each.
    """

    def __init__(self, recipe: Recipe, plugins: Plugins | None = None, data_dir: Path | None = None) -> None:
        self.recipe = recipe
        self._plugins = plugins or Plugins()
        self._memory: dict[Any, Any] = {}
        settings, problems = recipe.plan(), []
        plain = recipe.data.dataset.partition(":")[0]
        if problem := self._plugins.check("datasets", plain):
            problems.append(f"data.dataset: {problem}")
        names = {s.model or recipe.model for s in settings}
        for folder, wanted in (("methods", {s.method for s in settings}), ("models", names)):
            problems += [p for name in sorted(wanted) if (p := self._plugins.check(folder, name.partition(":")[0]))]
        methods = [None if problems else self._method(s, problems) for s in settings]
        if problems:
            raise InputError(problems)
        self._dataset = load_dataset(
            recipe.data.dataset,
            data_dir=data_dir,
            classes=recipe.data.classes,
            source=self._plugins.load("datasets", plain),
        )
        self.data_digest = self._dataset.digest
        self._splits = {seed: split(self._dataset, recipe.data, seed) for seed in recipe.seeds}
        self.tasks = [
            Task(number, s, method, self.model(s.model or recipe.model), seed)
            for number, (s, method) in enumerate(zip(settings, methods, strict=True), 1)
            for seed in recipe.seeds
            if method is not None
        ]
        for task in self.tasks:
            if task.seed == recipe.seeds[0]:
                problems += [f"experiment {task.settings.label!r}: {p}" for p in self._unfit(task)]
        if problems:
            raise InputError(problems)

    def _method(self, settings: ExperimentSettings, problems: list[str]) -> Method | None:
        kind: type[Method] = self._plugins.load("methods", settings.method)
        try:
            params: BaseModel = kind.Params.model_validate(settings.params)
        except ValidationError as error:
            where = f"experiment {settings.label!r}: params"
            problems += list(parameter_problems(error, kind.Params, where))
            return None
        return kind(params)

    def model(self, name: str) -> ModelSpec:
        """Returns a model by name, for this recipe's data."""
        shape, classes = self._dataset.x_train.shape[1:], self._dataset.classes
        spec = ModelSpec(name, self._plugins.architecture(name), shape, classes)
        spec.check(self._dataset.name)
        return spec

    def _unfit(self, task: Task) -> list[str]:
        """Returns why a method cannot compress a model."""
        supported = task.method.layers
        layers = [layer for layer in task.spec.build().layers if layer.weights]
        problems = [
            f"layer {layer.name!r} is a {type(layer).__name__}; method {task.settings.method!r} supports "
            f" {', '.join(sorted(supported))}."
            for layer in layers
            if type(layer).__name__ not in supported | WEIGHTLESS
        ]
        return problems or list(task.method.problems(self.bench(task)))

    def bench(self, task: Task, progress: Callable[[CurvePoint], None] | None = None) -> Bench:
        """Returns what a task's method works with."""
        training, epochs = self.recipe.training, task.settings.epochs
        if epochs is not None:
            training = training.model_copy(update={"epochs": epochs})
        data = self._splits[task.seed]
        return Bench(task.spec, data, task.seed, training, model=self.model, memory=self._memory, progress=progress)

    def run(self, directory: RunDirectory, observer: Observer) -> list[Row]:
        """Runs every task that is not finished in the directory, and returns all rows.

        Raises:
            RunError: Experiments failed; the others are finished.
        """
        failures = []
        for number, task in enumerate(self.tasks, 1):
            if _finished(directory, task):
                continue
            observer.started(task.settings.label, task.seed, number, len(self.tasks))
            try:
                self._run(task, directory, observer)
            except (FloatingPointError, FedcompressError) as error:
                failures.append(f"experiment {task.settings.label!r}, seed {task.seed}: {error}")
        rows = self.rows(directory)
        if failures:
            raise RunError("\n".join(failures))
        return rows

    def _run(self, task: Task, directory: RunDirectory, observer: Observer) -> None:
        bench = self.bench(task, observer.epoch_done)
        rows: list[Row] = []
        started = time.perf_counter()
        for outcome in task.method.run(bench):
            seconds = time.perf_counter() - started
            row = measured(task, self.recipe.data.dataset, outcome, bench)
            rows.append({**row, "seconds": seconds, "curve": bench.take_curve()})
            directory.write_json(f"experiments/{task.stem}.json", {"finished": False, "rows": rows})
            observer.outcome(rows[-1])
            started = time.perf_counter()
        directory.write_json(f"experiments/{task.stem}.json", {"finished": True, "rows": rows})

    def rows(self, directory: RunDirectory) -> list[Row]:
        """Returns the rows of all tasks that are finished."""
        finished = [task for task in self.tasks if _finished(directory, task)]
        return [row for task in finished for row in directory.read_json(f"experiments/{task.stem}.json")["rows"]]


def _finished(directory: RunDirectory, task: Task) -> bool:
    path = directory.path / "experiments" / f"{task.stem}.json"
    return path.exists() and bool(json.loads(path.read_text(encoding="utf-8"))["finished"])


def measured(task: Task, data: str, outcome: Outcome, bench: Bench) -> Row:
    """Returns the row of one outcome: what it is, how accurate, and what it costs."""
    spec = outcome.spec or task.spec
    model = spec.build()
    model.set_weights(outcome.weights)
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    accuracies = {
        name: bench.evaluate(outcome.weights, examples, spec).accuracy
        for name, examples in (("train", bench.data.train), ("validation", bench.data.validation))
    }
    predicted = predict(spec, outcome.weights, bench.data.test.x).argmax(axis=1)
    confusion = np.zeros((spec.classes, spec.classes), np.int64)
    np.add.at(confusion, (bench.data.test.y, predicted), 1)
    return {
        "experiment": task.settings.label,
        "step": outcome.step,
        "seed": task.seed,
        "data": data,
        "model": spec.name,
        "layers": " ".join(f"{type(layer).__name__} {layer.kernel.shape[-1]}" for layer in layers),
        "method": task.settings.method,
        "bits": outcome.bits,
        "sparsity": masking.sparsity(outcome.weights, spec.prunable),
        **accuracies,
        "test": float((predicted == bench.data.test.y).mean()),
        **asdict(size.measure(model)),
        **outcome.figures,
        "layer_sparsity": dict(outcome.layers)
        or {
            layer.name: masking.sparsity(outcome.weights, [i])
            for layer, i in zip([la for la in layers if la.trainable], spec.prunable, strict=True)
        },
        "confusion": confusion.tolist(),
    }

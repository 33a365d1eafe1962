"""Runs a recipe: every experiment with every seed, results on disk after each, nothing finished done twice."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedcompress.data.loading import load_dataset
from fedcompress.errors import FedcompressError, InputError, first_line, prepared
from fedcompress.files import shortened
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.saved import SUFFIXES
from fedcompress.parameters import checked_params
from fedcompress.plugins import Plugins
from fedcompress.recipes.bench import Bench, CurvePoint, random_numbers
from fedcompress.recipes.loading import named_model, split
from fedcompress.recipes.measuring import measured
from fedcompress.recipes.method import Method
from fedcompress.recipes.recipe import ExperimentSettings, Recipe
from fedcompress.recipes.table import Row
from fedcompress.recipes.tracking import TaskTrackers
from fedcompress.results.run.directory import RunDirectory
from fedcompress.tracking.trackers import check_installed

WEIGHTLESS = frozenset({"BatchNormalization", "GroupNormalization", "LayerNormalization", "Normalization", "Rescaling"})
"""Layers whose few weights nobody compresses."""


class Observer:
    """Is told how a recipe goes on; this one takes no notice."""

    def started(self, label: str, seed: int, number: int, total: int) -> None:
        """Experiment `number` of `total` begins."""

    def epoch_done(self, point: CurvePoint) -> None:
        """An epoch has been trained."""

    def outcome(self, row: Row) -> None:
        """A row is there."""


@dataclass(frozen=True)
class Task:
    """One experiment with one seed.

    Attributes:
        number: Of the experiment in the recipe, from 1.
        settings: Of the experiment.
        method: Made with the experiment's parameters.
        spec: The experiment's model.
        dataset: Name of the experiment's data set.
        seed: Of everything that is random.
        is_first: Whether the seed is the recipe's first: what does not depend on seeds is done for that one alone.
    """

    number: int
    settings: ExperimentSettings
    method: Method
    spec: ModelSpec
    dataset: str
    seed: int
    is_first: bool

    @property
    def stem(self) -> str:
        """Name of its files."""
        return f"{self.number:02d}-{shortened(_slug(self.settings.label), 100)}-seed{self.seed}"


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")


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
        settings, problems = recipe.plan(), []
        names = list(dict.fromkeys(s.dataset or recipe.data.dataset for s in settings))
        for name in names:
            if problem := self._plugins.check("datasets", name):
                problems.append(f"data.dataset: {problem}")
        if recipe.tracking is not None:
            check_installed(recipe.tracking)
        models = {name for s in settings if not (name := s.model or recipe.model).endswith(SUFFIXES)}
        for folder, wanted in (("methods", {s.method for s in settings}), ("models", models)):
            problems += [p for name in sorted(wanted) if (p := self._plugins.check(folder, name))]
        methods = [None if problems else self._method(s, problems) for s in settings]
        if problems:
            raise InputError(problems)
        load = partial(load_dataset, data_dir=data_dir, classes=recipe.data.classes, plugins=self._plugins)
        datasets = {name: load(name) for name in names}
        self._digests = {name: dataset.digest for name, dataset in datasets.items()}
        digests = list(self._digests.values())
        self.data_digest = digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()
        self._models = {n: cache(partial(named_model, dataset=d, plugins=self._plugins)) for n, d in datasets.items()}
        self._memories: dict[str, dict[Any, Any]] = {name: {} for name in names}
        self._splits = {
            (name, seed): split(dataset, recipe.data, partial(random_numbers, seed))
            for name, dataset in datasets.items()
            for seed in recipe.seeds
        }
        if recipe.training.patience and not all(len(of_seed.validation) for of_seed in self._splits.values()):
            problems.append("training.patience: counts validation losses, but data.validation is 0; use 0.1, say.")
        self.tasks = [
            Task(number, s, method, self._models[name](s.model or recipe.model), name, seed, seed == recipe.seeds[0])
            for number, (s, method) in enumerate(zip(settings, methods, strict=True), 1)
            for name in [s.dataset or recipe.data.dataset]
            for seed in recipe.seeds
            if method is not None
        ]
        for task in self.tasks:
            if task.is_first:
                problems += [f"experiment {task.settings.label!r}: {p}" for p in self._unfit(task)]
        if problems:
            raise InputError(problems)

    def _method(self, settings: ExperimentSettings, problems: list[str]) -> Method | None:
        kind: type[Method] = self._plugins.load("methods", settings.method)
        where = f"experiment {settings.label!r}: params"
        params = checked_params(kind.Params, settings.params, where, problems)
        if params is None:
            return None
        with prepared(f"method {settings.method!r}"):
            return kind(params)

    def _unfit(self, task: Task) -> list[str]:
        """Returns why a method cannot compress a model."""
        supported = task.method.layers
        problems = [
            f"layer {layer.name!r} is a {type(layer).__name__}; method {task.settings.method!r} supports "
            f"{', '.join(sorted(supported))}."
            for layer in task.spec.build().layers
            if supported is not None and layer.weights and type(layer).__name__ not in supported | WEIGHTLESS
        ]
        with prepared(f"method {task.settings.method!r}"):
            return problems or list(task.method.problems(self.bench(task)))

    def bench(self, task: Task, progress: Callable[[CurvePoint], None] | None = None) -> Bench:
        """Returns what a task's method works with."""
        training, epochs = self.recipe.training, task.settings.epochs
        if epochs is not None:
            training = training.model_copy(update={"epochs": epochs})
        data, model = self._splits[task.dataset, task.seed], self._models[task.dataset]
        memory = self._memories[task.dataset]
        return Bench(
            task.spec,
            data,
            task.seed,
            training,
            model=model,
            memory=memory,
            progress=progress,
            data_digest=self._digests[task.dataset],
        )

    def run(self, directory: RunDirectory, observer: Observer) -> list[Row]:
        """Runs every task that is not finished in the directory, and returns all rows.

        An experiment that fails, for whatever reason, costs itself: it gets a row with its `problem`, and the next time
        it is tried again.
        """
        for number, task in enumerate(self.tasks, 1):
            if _written(directory, task).get("finished"):
                continue
            observer.started(task.settings.label, task.seed, number, len(self.tasks))
            try:
                self._run(task, directory, observer)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # `sys.exit` in a plug-in would look like success
                known = isinstance(error, FloatingPointError | FedcompressError)
                reason = first_line(error) if known else f"{type(error).__name__}: {first_line(error)}"
                directory.write_json(_file(task), {"finished": False, "problem": reason, "rows": []})
        return self.rows(directory)

    def _run(self, task: Task, directory: RunDirectory, observer: Observer) -> None:
        trackers = TaskTrackers(self.recipe, task.stem, directory, observer.epoch_done)
        with trackers:
            trackers.rows = self._outcomes(task, self.bench(task, trackers.epoch_done), directory, observer)
        missing = {"missing": trackers.missing} if trackers.missing else {}
        directory.write_json(_file(task), {"finished": True, "rows": trackers.rows, **missing})

    def _outcomes(self, task: Task, bench: Bench, directory: RunDirectory, observer: Observer) -> list[Row]:
        """Returns the rows of a task; each is on disk, in an unfinished file, as soon as it is there."""
        rows: list[Row] = []
        started = time.perf_counter()
        for outcome in task.method.run(bench):
            spent, shared = bench.take_seconds()
            seconds = {"seconds": time.perf_counter() - started - spent, "shared_seconds": shared}
            stem = f"{task.stem}-{shortened(_slug(outcome.step), 60)}".rstrip("-")
            if any(row["file"].casefold() == f"models/{stem}.keras".casefold() for row in rows):
                stem += f"-{len(rows) + 1}"
            row = measured(
                outcome,
                bench,
                task.settings,
                task.dataset,
                directory.path / "models" / stem,
                to_tflite=self.recipe.tflite and task.is_first,
            )
            rows.append({**row, **seconds, "curve": bench.take_curve()})
            directory.write_json(_file(task), {"finished": False, "rows": rows})
            observer.outcome(rows[-1])
            started = time.perf_counter()
        return rows

    def rows(self, directory: RunDirectory) -> list[Row]:
        """Returns the rows of all tasks that are finished, and one for each that failed."""
        rows: list[Row] = []
        for task in self.tasks:
            written = _written(directory, task)
            if written.get("finished"):
                rows += written["rows"]
            elif "problem" in written:
                named = {"experiment": task.settings.label, "step": "", "seed": task.seed, "model": task.spec.name}
                rows.append({**named, "method": task.settings.method, "problem": written["problem"]})
        return rows


def _file(task: Task) -> str:
    return f"experiments/{task.stem}.json"


def _written(directory: RunDirectory, task: Task) -> Row:
    """Returns what there is of a task."""
    there = (directory.path / _file(task)).exists()
    return directory.read_json(_file(task)) if there else {}

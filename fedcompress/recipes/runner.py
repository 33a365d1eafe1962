"""Runs a recipe: every experiment with every seed, results on disk after each, nothing finished done twice."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedcompress.compression import masks as masking
from fedcompress.compression import size, tflite
from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.errors import FedcompressError, InputError, first_line, one_line, prepared
from fedcompress.files import shortened
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.kernels import described
from fedcompress.models.saved import SUFFIXES, SavedModel
from fedcompress.parameters import checked_params
from fedcompress.plugins import Plugins
from fedcompress.recipes.bench import Bench, CurvePoint, Split, split
from fedcompress.recipes.method import Method, Outcome
from fedcompress.recipes.recipe import ExperimentSettings, Recipe
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.missing import optional
from fedcompress.training.trainer import PREDICTION_BATCH, predict

Row = dict[str, Any]

WEIGHTLESS = frozenset({"BatchNormalization", "LayerNormalization", "Normalization", "Rescaling"})
"""Layers whose few weights nobody compresses."""


MOST_AT_ONCE = 10_000
"""Examples that are held as floats at a time."""


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
        self._memory: dict[Any, Any] = {}
        settings, problems = recipe.plan(), []
        if problem := self._plugins.check("datasets", recipe.data.dataset):
            problems.append(f"data.dataset: {problem}")
        models = {name for s in settings if not (name := s.model or recipe.model).endswith(SUFFIXES)}
        for folder, wanted in (("methods", {s.method for s in settings}), ("models", models)):
            problems += [p for name in sorted(wanted) if (p := self._plugins.check(folder, name))]
        methods = [None if problems else self._method(s, problems) for s in settings]
        if problems:
            raise InputError(problems)
        self._dataset = load_dataset(
            recipe.data.dataset, data_dir=data_dir, classes=recipe.data.classes, plugins=self._plugins
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
        where = f"experiment {settings.label!r}: params"
        params = checked_params(kind.Params, settings.params, where, problems)
        if params is None:
            return None
        with prepared(f"method {settings.method!r}"):
            return kind(params)

    def model(self, name: str) -> ModelSpec:
        """Returns a model by name, for this recipe's data."""
        shape, classes = self._dataset.x_train.shape[1:], self._dataset.classes
        spec = (
            SavedModel(Path(name), shape, classes)
            if name.endswith(SUFFIXES)
            else ModelSpec(name, self._plugins.architecture(name), shape, classes)
        )
        spec.check(self._dataset.name)
        return spec

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
        data = self._splits[task.seed]
        return Bench(task.spec, data, task.seed, training, model=self.model, memory=self._memory, progress=progress)

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
        bench = self.bench(task, observer.epoch_done)
        rows: list[Row] = []
        started = time.perf_counter()
        for outcome in task.method.run(bench):
            seconds = time.perf_counter() - started
            stem = f"{task.stem}-{shortened(_slug(outcome.step), 60)}".rstrip("-")
            if any(row["file"].casefold() == f"models/{stem}.keras".casefold() for row in rows):
                stem += f"-{len(rows) + 1}"
            row = measured(task, self.recipe, outcome, bench, directory.path / "models" / stem)
            rows.append({**row, "seconds": seconds, "curve": bench.take_curve()})
            directory.write_json(_file(task), {"finished": False, "rows": rows})
            observer.outcome(rows[-1])
            started = time.perf_counter()
        directory.write_json(_file(task), {"finished": True, "rows": rows})

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


def measured(task: Task, recipe: Recipe, outcome: Outcome, bench: Bench, stem: Path) -> Row:
    """Writes the model of an outcome to `STEM.keras` and, if asked for, TFLite files; returns its row.

    Accuracies are those of the model as it is written: with the rounding of its activations, or of the TFLite file that
    a method hands over instead. `int8` is a conversion of each float model, by ranges measured on training examples.
    """
    spec, data = outcome.spec or task.spec, bench.data
    plain = bench.network(outcome.weights, spec)
    model = outcome.network() if outcome.network else plain

    def logits(x: NDArray[Any]) -> NDArray[np.float32]:
        if outcome.tflite is not None:
            return tflite.predict(outcome.tflite, x)
        return predict(spec, outcome.weights, x) if model is plain else _run(model, x)

    scores = {name: _accuracy(logits(part.x), part) for name, part in (("train", data.train), ("val", data.validation))}
    predicted = logits(data.test.x)
    confusion = np.zeros((spec.classes, spec.classes), np.int64)
    np.add.at(confusion, (data.test.y, predicted.argmax(axis=1)), 1)
    stem.parent.mkdir(parents=True, exist_ok=True)
    model.save(stem.with_name(f"{stem.name}.keras"))
    return {
        "experiment": task.settings.label,
        "step": one_line(outcome.step),
        "seed": task.seed,
        "data": recipe.data.dataset,
        "model": spec.name,
        "layers": described(plain),
        "method": task.settings.method,
        "bits": outcome.bits,
        "sparsity": masking.sparsity(outcome.weights, spec.kernels),
        "train": scores["train"],
        "validation": scores["val"],
        "test": _accuracy(predicted, data.test),
        **asdict(size.measure(plain)),
        **(_tflite(plain, outcome, data, stem) if recipe.tflite and task.seed == recipe.seeds[0] else {}),
        **{one_line(name): figure for name, figure in outcome.figures.items()},
        **({"stays_dense": spec.dense_text} if spec.dense_kernels else {}),
        "file": f"models/{stem.name}.keras",
        "layer_sparsity": dict(outcome.layers)
        or {name: masking.sparsity(outcome.weights, [i]) for i, name in spec.kernels.items()},
        "confusion": confusion.tolist(),
    }


def _accuracy(logits: NDArray[np.float32], examples: Examples) -> float:
    return float((logits.argmax(axis=1) == examples.y).mean()) if len(examples) else float("nan")


def _run(model: Any, x: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the logits of a Keras model that has no compiled graph of its own."""
    parts = [x[i : i + MOST_AT_ONCE] for i in range(0, len(x), MOST_AT_ONCE)]
    outputs = [model.predict(tflite.as_float(part), batch_size=PREDICTION_BATCH, verbose=0) for part in parts]
    return np.concatenate(outputs)


def _tflite(model: Any, outcome: Outcome, data: Split, stem: Path) -> Row:
    """Writes TFLite files; returns sizes, latencies, how accurate the int8 one is, and why something is missing."""
    missing: list[str] = []
    row: Row = dict.fromkeys(("tflite_bytes", "latency_us", "int8_bytes", "int8_latency_us", "int8_test"))
    with optional(f"{stem.name}.tflite", missing):
        own = tflite.convert(model) if outcome.tflite is None else outcome.tflite
        stem.with_name(f"{stem.name}.tflite").write_bytes(own)
        row["tflite_bytes"] = len(own)
        if (needed := tflite.operations(own)) != "builtin":
            row["tflite_operations"] = needed
        row["latency_us"] = tflite.latency(own, data.test.x)
    with optional(f"{stem.name}-int8.tflite", missing):
        int8 = tflite.convert(model, "int8", data.train.x)
        stem.with_name(f"{stem.name}-int8.tflite").write_bytes(int8)
        row["int8_bytes"] = len(int8)
        row["int8_latency_us"] = tflite.latency(int8, data.test.x)
        row["int8_test"] = _accuracy(tflite.predict(int8, data.test.x), data.test)
    return row | ({"missing": "; ".join(missing)} if missing else {})

"""A model that a method hands over: written to files, and measured as it is written."""

from __future__ import annotations

from dataclasses import asdict
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.compression import masks as masking
from fedcompress.compression import size, tflite
from fedcompress.data.federated import Examples
from fedcompress.errors import one_line
from fedcompress.models.kernels import described
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.loading import Split
from fedcompress.recipes.method import Outcome
from fedcompress.recipes.recipe import ExperimentSettings
from fedcompress.recipes.table import Row
from fedcompress.results.run.missing import optional
from fedcompress.training.trainer import PREDICTION_BATCH, predict

MOST_AT_ONCE = 10_000
"""Examples that are held as floats at a time."""


def measured(
    outcome: Outcome, bench: Bench, experiment: ExperimentSettings, dataset: str, stem: Path, *, to_tflite: bool
) -> Row:
    """Writes the model of an outcome to `STEM.keras`, and returns its row.

    Accuracies are those of the model as it is written: with the rounding of its activations, or of the TFLite file that
    a method hands over instead. `int8` is a conversion of each float model, by ranges measured on training examples.

    Args:
        outcome: The model.
        bench: What it was made with.
        experiment: What it is an outcome of.
        dataset: Name of the data set.
        stem: Path of its files, without their suffixes.
        to_tflite: Write TFLite files as well, and time them.
    """
    spec, data = outcome.spec or bench.spec, bench.data
    plain = bench.network(outcome.weights, spec)
    model = outcome.network() if outcome.network else plain

    def logits(x: NDArray[Any]) -> NDArray[np.float32]:
        if outcome.tflite is not None:
            return tflite.predict(outcome.tflite, x)
        return predict(spec, outcome.weights, x) if model is plain else _run(model, x)

    parts = (data.train, data.validation)
    train, validation = (_accuracy(logits(part.x), part) if len(part) else nan for part in parts)
    predicted = logits(data.test.x)
    confusion = np.zeros((spec.classes, spec.classes), np.int64)
    np.add.at(confusion, (data.test.y, predicted.argmax(axis=1)), 1)
    stem.parent.mkdir(parents=True, exist_ok=True)
    model.save(stem.with_name(f"{stem.name}.keras"))
    return {
        "experiment": experiment.label,
        "step": one_line(outcome.step),
        "seed": bench.seed,
        "data": dataset,
        "model": spec.name,
        "layers": described(plain),
        "method": experiment.method,
        "bits": outcome.bits,
        "sparsity": masking.sparsity(outcome.weights, spec.kernels),
        "train": train,
        "validation": validation,
        "test": _accuracy(predicted, data.test),
        **asdict(size.measure(plain)),
        **(_tflite(plain, outcome, data, stem) if to_tflite else {}),
        **{one_line(name): figure for name, figure in outcome.figures.items()},
        **({"stays_dense": spec.dense_text} if spec.dense_kernels else {}),
        "file": f"models/{stem.name}.keras",
        "layer_sparsity": dict(outcome.layers)
        or {name: masking.sparsity(outcome.weights, [i]) for i, name in spec.kernels.items()},
        "confusion": confusion.tolist(),
    }


def _accuracy(logits: NDArray[np.float32], examples: Examples) -> float:
    return float((logits.argmax(axis=1) == examples.y).mean())


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
        file = tflite.convert(model) if outcome.tflite is None else outcome.tflite
        stem.with_name(f"{stem.name}.tflite").write_bytes(file)
        row["tflite_bytes"] = len(file)
        if (operations := tflite.operations(file)) != "builtin":
            row["tflite_operations"] = operations
        row["latency_us"] = tflite.latency(file, data.test.x)
    with optional(f"{stem.name}-int8.tflite", missing):
        int8 = tflite.convert(model, "int8", data.train.x)
        stem.with_name(f"{stem.name}-int8.tflite").write_bytes(int8)
        row["int8_bytes"] = len(int8)
        row["int8_latency_us"] = tflite.latency(int8, data.test.x)
        row["int8_test"] = _accuracy(tflite.predict(int8, data.test.x), data.test)
    return row | ({"missing": "; ".join(missing)} if missing else {})

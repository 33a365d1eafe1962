"""Training in a recipe: how often it sees the examples, and how long it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedcompress.options import Options
from fedcompress.recipes import launch
from fedcompress.recipes.bench import Bench, CurvePoint
from fedcompress.recipes.recipe import Recipe
from fedcompress.recipes.runner import Observer, Session

DATA = {"dataset": "digits", "examples": 100}


def bench(epochs: int) -> Bench:
    table = {"name": "bench", "model": "mlp:6", "experiments": [{"method": "plain"}], "training": {"epochs": epochs}}
    session = Session(Recipe.parse({**table, "data": DATA}))
    return session.bench(session.tasks[0])


def test_an_epoch_is_one_pass_over_the_examples() -> None:
    """Whatever `[training] epochs` is, which a method's own number of epochs replaces."""
    one, three = bench(1), bench(3)
    weights = [made.train(made.initial(), epochs=2).weights for made in (one, three)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_epoch_is_a_point_of_the_curve() -> None:
    three = bench(3)
    three.train(three.initial())
    assert [point.epoch for point in three.curve] == [1, 2, 3]


@pytest.mark.parametrize("order", [("plain", "float16", "kd"), ("kd", "float16", "plain")])
def test_seconds_are_of_an_experiments_own_training_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]
) -> None:
    """An epoch takes a second. Both dense models, that of two experiments and the teacher, have three."""
    clock = {"now": 0.0}

    def passes(point: CurvePoint) -> None:
        clock["now"] += 1

    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])
    observer = Observer()
    monkeypatch.setattr(observer, "epoch_done", passes)
    methods = {"kd": {"params": {"teacher": "mlp:8"}}}
    experiments = [{"method": name, **methods.get(name, {})} for name in order]
    table = {"name": "bench", "model": "mlp:6", "tflite": False, "data": DATA, "training": {"epochs": 3}}
    rows = launch.start(Recipe.parse({**table, "experiments": experiments}), tmp_path / "run", Options(), observer)
    assert {row["method"]: (row["seconds"], row["shared_seconds"]) for row in rows} == {
        "plain": (0.0, 3.0),
        "float16": (0.0, 3.0),
        "kd": (3.0, 3.0),
    }

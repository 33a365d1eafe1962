"""Methods by which a model learns from a larger one, in a recipe: sizes by arithmetic, and whose head comes out."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.options import Options
from fedcompress.recipes import launch
from fedcompress.recipes.recipe import Recipe
from fedcompress.recipes.runner import Observer, Session
from fedcompress.recipes.tracking import _of_epoch

RECIPE = """
name = "teaching"
model = "mlp:12"
tflite = false
[data]
dataset = "digits"
examples = 400
[training]
epochs = 2
learning_rate = 0.01
[[experiments]]
name = "teacher"
model = "mlp:24"
epochs = 3
[[experiments]]
method = "simkd"
params = { teacher = "mlp:24", teacher_epochs = 3 }
[[experiments]]
name = "rounded"
method = "simkd"
params = { teacher = "mlp:24", teacher_epochs = 3, reduction = 2, bits = 8, sparsity = 0.5 }
[[experiments]]
method = "head-reuse"
params = { teacher = "mlp:24", teacher_epochs = 3 }
[[experiments]]
name = "same features"
method = "head-reuse"
params = { teacher = "mlp:12" }
"""
ENCODER, HEAD = 65 * 12, 25 * 10


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("teaching") / "run"
    rows = launch.start(Recipe.parse(tomllib.loads(RECIPE)), path, Options(), Observer())
    return path, {row["experiment"].partition(" teacher")[0]: row for row in rows}


def test_projector_and_head_are_part_of_the_model(run: tuple[Path, dict[str, Any]]) -> None:
    """Behind 12 features two dense layers, 24 (or, reduced, 12) and 24 units, each normalised by four values a unit."""
    wide, narrow = 12 * 24 + 24 * 24 + 4 * (24 + 24), 12 * 12 + 12 * 24 + 4 * (12 + 24)
    parameters = {name: row["parameters"] for name, row in run[1].items()}
    assert parameters == {
        "teacher": 65 * 24 + HEAD,
        "simkd": ENCODER + wide + HEAD,
        "rounded": ENCODER + narrow + HEAD,
        "head-reuse": ENCODER + wide + HEAD,
        "same features": ENCODER + 13 * 10,
    }
    assert all(row["test"] > 0.3 for row in run[1].values())


@pytest.mark.parametrize("normalisation", ["batch", "group", "frozen"])
def test_a_projector_is_normalised_as_asked(normalisation: str) -> None:
    """By groups two values a unit instead of four; statistics are frozen as the student is rounded."""
    params = {"teacher": "mlp:24", "bits": 8, "normalisation": normalisation}
    table = tomllib.loads(RECIPE) | {"experiments": [{"method": "simkd", "params": params}]}
    session = Session(Recipe.parse(table))
    method: Any = session.tasks[0].method
    student, teacher = (session.bench(session.tasks[0]).model(name) for name in ("mlp:12", "mlp:24"))
    first, then = method.student(student, teacher), method.settled(student, teacher)
    assert [spec.kinds.count("statistic") for spec in (first, then)] == {
        "batch": [4, 4],
        "group": [0, 0],
        "frozen": [4, 0],
    }[normalisation]
    assert (
        first.parameters
        == then.parameters
        == ENCODER + HEAD + 12 * 24 + 24 * 24 + (2 if normalisation == "group" else 4) * (24 + 24)
    )


def test_the_head_is_the_teachers(run: tuple[Path, dict[str, Any]]) -> None:
    path, rows = run
    heads = {
        name: keras.models.load_model(path / row["file"], compile=False).get_weights()[-2:]
        for name, row in rows.items()
        if name != "same features"
    }
    for kernel, bias in heads.values():
        np.testing.assert_array_equal(kernel, heads["teacher"][0])
        np.testing.assert_array_equal(bias, heads["teacher"][1])


def test_a_student_may_be_rounded_and_pruned_while_it_learns_on(run: tuple[Path, dict[str, Any]]) -> None:
    """All kernels but the head's: 64 * 12 + 12 * 12 + 12 * 24 weights, half of which are masked."""
    row = run[1]["rounded"]
    assert (row["bits"], row["returned"]) == (8, 0)
    assert row["masked_zeros"] == pytest.approx(0.5 * 1200, abs=3)
    assert row["stays_dense"].startswith("head: ")
    assert [point["phase"] for point in row["curve"]][-4:] == ["distil"] * 2 + ["prune and round"] * 2


def test_a_teachers_epochs_are_named_apart_and_the_same_for_all_students(run: tuple[Path, dict[str, Any]]) -> None:
    """Whichever experiment it was trained in, as its own model or as a teacher."""
    curves = {name: row["curve"] for name, row in run[1].items()}
    phases = {name: [point["phase"] for point in curve] for name, curve in curves.items()}
    assert phases["teacher"] == ["dense"] * 3
    assert phases["simkd"] == phases["head-reuse"] == ["teacher"] * 3 + ["distil"] * 2
    assert phases["same features"] == ["teacher"] * 2 + ["distil"] * 2
    for name in ("simkd", "rounded", "head-reuse"):
        assert [point["loss"] for point in curves[name][:3]] == [point["loss"] for point in curves["teacher"]]


def test_trackers_get_a_teachers_epochs_under_its_own_name() -> None:
    table = tomllib.loads(RECIPE)
    session = Session(Recipe.parse({**table, "experiments": table["experiments"][1:2]}))
    seen: list[str] = []
    bench = session.bench(session.tasks[0], lambda point: seen.extend(_of_epoch(point)))
    bench.teacher("mlp:24", 1)
    bench.train(bench.initial(), epochs=1)
    assert {"teacher/validation", "teacher/loss", "train/validation"} <= set(seen)
    assert not any("dense" in name for name in seen)


def test_a_model_from_a_file_keeps_its_own_head(tmp_path: Path) -> None:
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(tmp_path / "mine.keras")
    table = tomllib.loads(RECIPE) | {"experiments": [{"method": "simkd", "params": {"teacher": "mlp:24"}}]}
    with pytest.raises(InputError) as caught:
        Session(Recipe.parse(table, {"model": str(tmp_path / "mine.keras")}))
    assert str(caught.value) == (
        "experiment 'simkd teacher mlp:24': model 'mine': a model from a file is used as a whole; expected a model by "
        "name, whose encoder can be put before another head."
    )

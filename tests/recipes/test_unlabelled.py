"""Inputs without labels in a recipe: apart from all others, no label that could be read, and a teacher for them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from fedcompress.data.dataset import Dataset
from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.errors import InputError
from fedcompress.plugins import Plugins
from fedcompress.recipes.bench import random_numbers
from fedcompress.recipes.distill.settings import DistillSettings
from fedcompress.recipes.loading import Split, split
from fedcompress.recipes.recipe import Recipe, RecipeData
from fedcompress.recipes.runner import Session
from fedcompress.training.objectives import Distillation, FeatureMatching, PartlyLabelled

DATA = {"dataset": "digits", "examples": 100, "unlabelled": 300}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", plugins=Plugins())


def divided(dataset: Dataset, seed: int = 1, **data: Any) -> Split:
    return split(dataset, RecipeData(**DATA | data), partial(random_numbers, seed))


def test_they_are_apart_from_what_is_learned_and_validated(digits: Dataset) -> None:
    parts = divided(digits)
    rows = {array.tobytes(): i for i, array in enumerate(digits.x_train)}
    found = [[rows[x.tobytes()] for x in part] for part in (parts.train.x, parts.validation.x, parts.unlabelled)]
    assert [len(set(part)) for part in found] == [100, round(0.1 * len(digits.x_train)), 300]
    assert len({row for part in found for row in part}) == sum(map(len, found))
    assert not np.array_equal(divided(digits, seed=2).unlabelled, parts.unlabelled)


def test_the_others_are_drawn_as_before(digits: Dataset) -> None:
    without, parts = divided(digits, unlabelled=0), divided(digits)
    assert len(without.unlabelled) == 0
    assert np.array_equal(without.train.x, parts.train.x)
    assert np.array_equal(without.validation.y, parts.validation.y)


def test_no_label_of_theirs_is_there_and_none_would_be_looked_at(digits: Dataset) -> None:
    assert isinstance(divided(digits).unlabelled, np.ndarray)  # inputs, and no labels beside them
    taught = Taught(1)
    bench, examples, start = taught.bench, taught.examples, taught.bench.initial()
    assert examples.y[100:].tolist() == [0] * 300
    other = Examples(examples.x, np.where(np.arange(400) < 100, examples.y, 7).astype(np.int32))
    weights = [bench.train(start, objective=taught.objective, examples=e).weights for e in (examples, other)]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


class Taught:
    """A student of a teacher on digits, ready to be trained."""

    def __init__(self, seed: int, method: str = "kd", **params: Any) -> None:
        experiment = {"method": method, "params": {"teacher": "mlp:24", **params}}
        table = {"name": "t", "model": "mlp:12", "data": DATA, "training": {"epochs": 1}, "experiments": [experiment]}
        session = Session(Recipe.parse({**table, "seeds": [seed]}))
        (task,) = session.tasks
        bench = self.bench = session.bench(task)
        made: Any = task.method
        self.examples = made.examples(bench)
        teacher, weights = bench.teacher("mlp:24")
        self.objective = made.objective(bench, teacher, weights)


def test_a_teacher_speaks_of_them() -> None:
    kd, alone, simkd = Taught(1), Taught(1, unlabelled=False), Taught(1, method="simkd")
    assert isinstance(kd.objective, PartlyLabelled)
    assert (len(kd.examples), kd.objective.labelled.sum(), len(kd.objective.teacher)) == (400, 100, 400)
    assert kd.objective.labelled[:100].all()
    assert type(alone.objective) is Distillation
    assert (len(alone.examples), len(alone.objective.teacher)) == (100, 100)
    assert isinstance(simkd.objective, FeatureMatching)
    assert simkd.objective.teacher.shape == (400, 24)


def test_there_have_to_be_as_many(digits: Dataset) -> None:
    left = len(digits.x_train) - round(0.1 * len(digits.x_train)) - 100
    with pytest.raises(InputError, match=f"data.unlabelled: received 5000; {left} training examples are left beside"):
        divided(digits, unlabelled=5000)
    with pytest.raises(InputError, match="unlabelled: received -1; expected 0 or more"):
        DistillSettings("mlp", "mlp", "digits", unlabelled=-1)

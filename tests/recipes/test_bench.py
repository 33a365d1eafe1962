"""Training in a recipe: how often it sees the examples."""

from __future__ import annotations

import numpy as np

from fedcompress.recipes.bench import Bench
from fedcompress.recipes.recipe import Recipe
from fedcompress.recipes.runner import Session


def bench(epochs: int) -> Bench:
    table = {"name": "bench", "model": "mlp:6", "experiments": [{"method": "plain"}], "training": {"epochs": epochs}}
    session = Session(Recipe.parse({**table, "data": {"dataset": "digits", "examples": 100}}))
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

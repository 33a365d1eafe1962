"""Learning rates of the steps of one training, by hand and in the loop."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.compression.base import Wrapping
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.training.loop import Trained, TrainingLoop, batches
from fedcompress.training.objectives import CrossEntropy
from fedcompress.training.rates import Cosine, of_steps


def test_a_number_is_the_rate_of_every_step() -> None:
    rates = of_steps(0.1, 3)
    assert rates.dtype == np.float32
    assert rates.tolist() == [np.float32(0.1)] * 3


def test_a_cosine_of_four_steps() -> None:
    """(1 + cos(0, 45, 90, 135 degrees)) / 2 = 1, (2 + sqrt 2) / 4, 1/2, (2 - sqrt 2) / 4."""
    assert of_steps(Cosine(0.2), 4) == pytest.approx([0.2, 0.17071068, 0.1, 0.02928932])


def test_trainings_one_after_the_other_share_a_cosine() -> None:
    parts = [of_steps(Cosine(0.2, begin, begin + 0.25), 5) for begin in (0.0, 0.25, 0.5, 0.75)]
    assert np.concatenate(parts) == pytest.approx(of_steps(Cosine(0.2), 20), rel=1e-6)


def test_the_loop_takes_each_step_at_its_rate_and_compiles_nothing_anew() -> None:
    """Two steps along a cosine from 0.2 are one at 0.2 and one at 0.1, with an optimizer that remembers nothing."""
    model = ModelSpec("mini-cnn", MiniCNN(), (28, 28, 1), 10)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (32, 28, 28, 1), np.uint8), rng.integers(0, 10, 32).astype(np.int32)
    loop = TrainingLoop(model, Wrapping(), CrossEntropy(), "sgd")
    order, _ = batches(32, 16, 1, np.random.default_rng(2))
    start = model.initial(np.random.default_rng(1))

    def train(weights: list[np.ndarray], rows: np.ndarray, rate: float | Cosine) -> Trained:
        seeded = np.random.default_rng(2)
        settings = {"epochs": 1, "batch_size": 16}
        return loop.run(weights, x[rows], y[rows], CrossEntropy(), [], learning_rate=rate, rng=seeded, **settings)

    first = train(start, order[:16], 0.2)
    graph = loop._graph
    second = train(first.weights, order[16:], 0.1)
    both = train(start, np.arange(32), Cosine(0.2))
    assert both.steps == 2
    assert loop._graph is graph
    for one, by_hand in zip(both.weights, second.weights, strict=True):
        np.testing.assert_allclose(one, by_hand, rtol=1e-4, atol=1e-6)
    assert not np.allclose(both.weights[0], first.weights[0], atol=1e-5)


def test_a_training_in_parts_is_the_training_at_once() -> None:
    """With Adam, whose moments go on from part to part; without, the second part would begin like the first."""
    model = ModelSpec("mini-cnn", MiniCNN(), (28, 28, 1), 10)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (32, 28, 28, 1), np.uint8), rng.integers(0, 10, 32).astype(np.int32)
    loop = TrainingLoop(model, Wrapping(), CrossEntropy(), "adam")
    start = model.initial(np.random.default_rng(1))
    order, _ = batches(32, 16, 1, np.random.default_rng(2))

    def train(weights: list[np.ndarray], rows: np.ndarray, **more: bool) -> Trained:
        settings = {"epochs": 1, "batch_size": 32, "learning_rate": 0.01, "rng": np.random.default_rng(2)}
        return loop.run(weights, x[rows], y[rows], CrossEntropy(), [], **settings | more)

    once = loop.run(
        start, x, y, CrossEntropy(), [], epochs=1, batch_size=16, learning_rate=0.01, rng=np.random.default_rng(2)
    )
    apart = train(train(start, order[:16]).weights, order[16:])
    with pytest.raises(ValueError, match="goes on from weights that are not those"):
        train(start, order[16:], continued=True)
    parts = train(train(start, order[:16]).weights, order[16:], continued=True)
    for whole, joined, restarted in zip(once.weights, parts.weights, apart.weights, strict=True):
        np.testing.assert_allclose(joined, whole, rtol=1e-3, atol=1e-5)
        assert not np.allclose(restarted, whole, rtol=1e-3, atol=1e-5)


def test_steps_instead_of_passes() -> None:
    """7 steps of 16 of 40 examples: two passes of 16, 16 and 8, and one batch of a third."""
    model = ModelSpec("mini-cnn", MiniCNN(), (28, 28, 1), 10)
    x, y = np.zeros((40, 28, 28, 1), np.uint8), np.zeros(40, np.int32)
    loop = TrainingLoop(model, Wrapping(), CrossEntropy(), "sgd")
    start = model.initial(np.random.default_rng(1))
    settings = {"epochs": 1, "batch_size": 16, "learning_rate": 0.0, "rng": np.random.default_rng(2)}
    trained = loop.run(start, x, y, CrossEntropy(), [], steps=7, **settings)
    assert (trained.steps, trained.examples) == (7, 96)
    assert trained.loss == pytest.approx(loop.run(start, x, y, CrossEntropy(), [], **settings).loss, rel=1e-5)

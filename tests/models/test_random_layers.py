"""Random layers in compiled graphs: seeded before each call, refused where no seed reaches them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.random_layers import RandomLayers
from fedcompress.plugins import Plugins
from fedcompress.training.trainer import Predictor
from federating import PLUGINS

FOUND = Plugins((PLUGINS,))
RANDOM = (
    *("sequential", "dropout", "spatial-dropout", "noise", "augmentation", "recurrent-dropout", "bidirectional"),
    *("attention", "distributed", "twice", "own"),
)


def compiled(model: Any) -> tuple[RandomLayers, Callable[[Any], np.ndarray]]:
    layers = RandomLayers(model, "tested")
    function = keras.tf.function(lambda x: model(x, training=True), autograph=False)
    bound = layers.bind(function.get_concrete_function(keras.tf.TensorSpec([None, *model.input_shape[1:]])))
    return layers, lambda x: bound(keras.tf.constant(x)).numpy()


@pytest.mark.parametrize("name", RANDOM)
def test_equal_seeds_give_equal_draws_whatever_was_drawn_before(name: str) -> None:
    spec = ModelSpec(name, FOUND.architecture(f"zoo:{name}"), (8, 8, 1), 10)
    model = spec.build()
    weights = [w.name for w in model.weights]
    layers, forward = compiled(model)
    x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)

    def draw(seed: int) -> np.ndarray:
        layers.seed(np.random.default_rng(seed))
        return forward(x)

    first, other, goes_on, again = draw(1), draw(2), forward(x), draw(1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(other, goes_on)
    assert [w.name for w in model.weights] == [w.name for w in model.variables] == weights
    assert sum(w.size for w in model.get_weights()) == spec.parameters


def test_another_build_draws_the_same() -> None:
    """Whatever layers were built before: state is set, not created."""
    outputs = []
    for _ in range(2):
        spec = ModelSpec("zoo:noise", FOUND.architecture("zoo:noise"), (8, 8, 1), 10)
        model = spec.build()
        model.set_weights(spec.initial(np.random.default_rng(1)))
        layers, forward = compiled(model)
        layers.seed(np.random.default_rng(3))
        outputs.append(forward(np.ones((2, 8, 8, 1), np.float32)))
    assert np.array_equal(*outputs)


class Draws(Architecture):
    """Adds what a function draws, in a layer of one's own."""

    def __init__(self, draw: Callable[[Any], Any], always: bool = False) -> None:
        self.draw, self.always = draw, always

    def features(self, inputs: Any) -> Any:
        draw, always = self.draw, self.always

        class Drawing(keras.layers.Layer):  # type: ignore[misc]
            def call(self, x: Any, training: Any = None) -> Any:
                return x + draw(x) if training or always else x

        return Drawing(name="drawing")(keras.layers.Flatten()(inputs))


def shuffled(x: Any) -> Any:
    return keras.tf.random.shuffle(x)


def looped(x: Any) -> Any:
    tf = keras.tf
    return tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, y + tf.random.normal([])), (0, 0.0))[1]


def conditional(x: Any) -> Any:
    tf = keras.tf
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.random.uniform([], seed=3), lambda: 0.0)


def global_generator(x: Any) -> Any:
    return keras.tf.random.get_global_generator().normal([])


def called(x: Any) -> Any:
    return keras.tf.function(lambda: keras.tf.random.get_global_generator().uniform([]))()


@pytest.mark.parametrize(
    ("draw", "always", "operation"),
    [
        (lambda x: keras.tf.random.normal([]), False, "'mine/drawing/random_normal/RandomStandardNormal' (Random"),
        (lambda x: keras.backend.random_uniform([]), True, "RandomUniform"),
        (lambda x: keras.tf.nn.dropout(x, 0.1, seed=1), False, "RandomUniform"),
        (shuffled, False, "RandomShuffle"),
        (looped, False, "RandomStandardNormal"),
        (conditional, True, "RandomUniform"),
        (global_generator, False, "RngReadAndSkip"),
        (called, False, "RngReadAndSkip"),
    ],
    ids=["normal", "backend", "dropout", "shuffle", "loop", "condition", "global generator", "function"],
)
def test_draws_that_no_seed_repeats_are_refused(draw: Callable[[Any], Any], always: bool, operation: str) -> None:
    with pytest.raises(InputError) as error:
        ModelSpec("mine", Draws(draw, always), (8, 8, 1), 10).check("digits")
    (problem,) = error.value.problems
    assert problem.startswith("model 'mine': '")
    assert operation in problem
    assert problem.endswith(
        "draws random numbers that no seed repeats; expected a random layer of Keras, or in a layer of your own an "
        "attribute `tf.random.Generator` to draw from."
    )


@pytest.mark.parametrize(
    "draw",
    [lambda x: keras.tf.random.stateless_normal([], [1, 2]), lambda x: keras.tf.ones([])],
    ids=["stateless", "constant"],
)
def test_what_is_not_random_is_not_refused(draw: Callable[[Any], Any]) -> None:
    ModelSpec("mine", Draws(draw), (8, 8, 1), 10).check("digits")


class MonteCarlo(Architecture):
    """Dropout in predictions, too (Gal and Ghahramani 2016)."""

    def features(self, inputs: Any) -> Any:
        return keras.layers.Dropout(0.5)(keras.layers.Flatten()(inputs), training=True)


def test_predictions_follow_from_weights_and_inputs() -> None:
    spec = ModelSpec("monte-carlo", MonteCarlo(), (8, 8, 1), 10)
    weights, x = spec.initial(np.random.default_rng(1)), np.ones((1200, 8, 8, 1), np.float32)
    predictor = Predictor(spec)
    first, again, elsewhere = predictor.run(weights, x), predictor.run(weights, x), Predictor(spec).run(weights, x)
    assert np.array_equal(first, again)
    assert np.array_equal(first, elsewhere)
    assert len(np.unique(first[:1000, 0])) > 990

"""A conditional generator whose samples have a given mean embedding, trained in a compiled graph.

The loss is that of DP-MERF (Harder et al. 2021, eq. 7 and 8), sum over classes c of p_c^2 ||m_c - E_c / n_c||^2, with
p_c = n_c / n and m_c the mean of phi over generated images of class c. Of ||m_c||^2 it takes the unbiased estimate
(Gretton et al. 2012, lemma 6): the mean over a batch's pairs of one image with itself would ask for less variety than
the data has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.generators.embedding import Embedding, features
from fedcompress.generators.spec import GanSpec
from fedcompress.training.loop import assign, make_optimizer, of_rows, of_shape, reset
from fedcompress.training.rates import Cosine, of_steps
from fedcompress.wire.content import Arrays
from fedcompress.wire.vector import joined, shapes_of, split

DECAY = 0.99
"""Of the exponential average over steps of the generator's weights, which is what a training returns."""
WARM_UP = 10
"""After t steps the average reaches back t / WARM_UP steps at most."""
AT_ONCE = 20
"""Steps in one call of the graph: between two calls Python sees that it is to end."""


@dataclass(frozen=True)
class Target:
    """What generated images are to match.

    Attributes:
        means: E_c / n_c, (classes, 2 D); zero where a class has no weight.
        weights: p_c^2, scaled to a mean of 1, (classes,); 0 for a class that nobody seems to have.
    """

    means: NDArray[np.float32]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, embedding: Embedding, release: NDArray[Any], least: float = 0.0) -> Target:
        """Returns the target of a release, or of the sum of several, noise or not.

        Args:
            embedding: What it is a release of.
            release: As `Embedding.joined` orders it.
            least: Number of examples up to which a class counts as absent: the deviation of the noise on that number.

        Raises:
            InputError: No class has more.
        """
        counts, sums = embedding.parts(release)
        held = counts > least
        if not held.any():
            raise InputError("no class of the embedding has a count above its noise: there is nothing to learn from")
        means = np.where(held[:, None], sums / np.where(held, counts, 1.0)[:, None], 0.0)
        weights = np.where(held, counts, 0.0) ** 2
        return cls(means.astype(np.float32), (weights / weights.mean()).astype(np.float32))


@dataclass(frozen=True)
class Matched:
    """What a training leaves.

    Attributes:
        generator: The average over the last steps of its weights.
        loss: Mean over steps, up to a constant that only the target decides.
    """

    generator: Arrays
    loss: float


class MatchingLoop:
    """A generator, its optimizer and a graph that runs so many steps.

    Not thread-safe: its variables belong to one call at a time.

    Args:
        spec: The generator.
        per_class: Images of each class in a step, two or more.
    """

    def __init__(self, spec: GanSpec, per_class: int) -> None:
        with keras.LOCK:
            self._networks, self._classes, self._per_class = spec.networks, spec.classes, per_class
            template = spec.generator_template
            self._variables = [keras.tf.Variable(a) for a in template]
            self._average = [keras.tf.Variable(a, trainable=False) for a in template]
            self._shapes = shapes_of(template)
            self._optimizer = make_optimizer("adam", self._variables, beta_1=0.9)
            flat = of_shape(joined(template, np.float32))
            begin = keras.tf.function(self._begin, input_signature=[flat], autograph=False)
            self._start = begin.get_concrete_function()
            self._graph: Any = None

    def _begin(self, weights: Any) -> None:
        assign(self._variables, weights)
        assign(self._average, weights)
        reset(self._optimizer)

    def _train(self, first: Any, frequencies: Any, means: Any, of_classes: Any, rates: Any, seed: Any) -> Any:
        """Goes on with step number `first`, for as many steps as there are rates; returns the sum of their losses."""
        tf = keras.tf
        labels = tf.repeat(tf.range(self._classes), self._per_class)

        def step(index: Any, total: Any) -> Any:
            self._optimizer.learning_rate.assign(rates[index - first])
            shape = [self._classes * self._per_class, self._networks.noise]
            z = tf.random.stateless_normal(shape, tf.stack([seed[0] + index, seed[1]]))
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._variables)
                images = self._networks.generate(self._variables, z, labels)
                loss = self._loss(features(frequencies, images), means, of_classes)
            pairs = zip(tape.gradient(loss, self._variables), self._variables, strict=True)
            self._optimizer.apply_gradients(pairs, experimental_aggregate_gradients=False)
            self._averaged(index)
            return index + 1, total + loss

        last = first + tf.size(rates)
        _, total = tf.while_loop(
            lambda index, _: index < last, keras.apart(step), (first, tf.constant(0.0)), parallel_iterations=1
        )
        return total

    def _loss(self, rows: Any, means: Any, of_classes: Any) -> Any:
        """Returns sum of p_c^2 (||m_c||^2 - 2 <m_c, E_c / n_c>): ||m_c - E_c / n_c||^2 without what is constant."""
        tf, n = keras.tf, self._per_class
        made = tf.reduce_mean(tf.reshape(rows, [self._classes, n, rows.shape[1]]), axis=1)
        squares = (n * tf.reduce_sum(tf.square(made), axis=1) - 1.0) / (n - 1.0)  # the rows are of norm 1
        return tf.reduce_mean(of_classes * (squares - 2.0 * tf.reduce_sum(made * means, axis=1)))

    def _averaged(self, index: Any) -> None:
        """Moves the average of the generator's weights towards those of this step."""
        tf = keras.tf
        done = tf.cast(index, tf.float32)
        decay = tf.minimum(DECAY, done / (done + WARM_UP))
        for average, variable in zip(self._average, self._variables, strict=True):
            average.assign_add((1.0 - decay) * (variable - average))

    def run(
        self, generator: Arrays, embedding: Embedding, target: Target, rates: NDArray[np.float32], seed: NDArray[Any]
    ) -> Matched:
        """Trains from `generator`, a step for each learning rate; nothing is kept between calls."""
        tf, inputs = keras.tf, (embedding.frequencies, target.means, target.weights)
        if self._graph is None:
            signature = [tf.TensorSpec([], tf.int32), *map(of_shape, inputs), of_rows(rates), of_shape(seed)]
            with keras.LOCK:
                function = tf.function(self._train, input_signature=signature, autograph=False)
                self._graph = function.get_concrete_function()
        self._start(tf.constant(joined(generator, np.float32)))
        tensors, total = list(map(tf.constant, inputs)), 0.0
        for first in range(0, len(rates), AT_ONCE):
            some = tf.constant(rates[first : first + AT_ONCE])
            total += float(self._graph(tf.constant(first), *tensors, some, tf.constant(seed)))
        average = np.concatenate([np.ravel(array.numpy()) for array in self._average])
        return Matched(split(average, self._shapes), total / max(1, len(rates)))


def match(
    spec: GanSpec,
    generator: Arrays,
    embedding: Embedding,
    target: Target,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
) -> Matched:
    """Trains a generator until its samples have the target's mean embedding; its optimizer starts anew.

    The same arguments and generator state give the same bits on any thread.

    Args:
        spec: Of the generator.
        generator: Start.
        embedding: By which images are compared.
        target: What their mean embedding is to be.
        steps: Of Adam.
        batch_size: Images in a step, equally many of each class, two or more.
        learning_rate: Of the first step; it falls along half a cosine.
        rng: Seeds the noise z.

    Raises:
        FloatingPointError: Training diverged.
    """
    per_class = max(2, batch_size // spec.classes)
    key = ("match", spec, per_class, embedding.frequencies.shape)
    loop: MatchingLoop = keras.compiled(key, lambda: MatchingLoop(spec, per_class))
    rates = of_steps(Cosine(learning_rate), steps)
    seed = rng.integers(0, 2**31, 2).astype(np.int32)
    matched = loop.run(generator, embedding, target, rates, seed)
    if not np.isfinite(matched.loss):
        raise FloatingPointError(f"training of the generator diverged: its loss is {matched.loss}")
    return matched

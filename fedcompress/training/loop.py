"""Local training as one compiled graph, traced once per process and thread and reused for every client and round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.compression.base import Wrapping
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.random_layers import RandomLayers
from fedcompress.training.objectives import Objective
from fedcompress.wire.content import Arrays
from fedcompress.wire.vector import joined, sizes_of, split


def make_optimizer(name: str) -> Any:
    """Returns an optimizer whose learning rate is a variable; the fused kernels of `legacy` halve its cost."""
    choices = {
        "adam": lambda: keras.optimizers.legacy.Adam(),
        "sgd": lambda: keras.optimizers.legacy.SGD(),
        "momentum": lambda: keras.optimizers.legacy.SGD(momentum=0.9),
    }
    return choices[name]()


def scaled(x: Any) -> Any:
    """Returns images as float32: uint8 in [0, 255] becomes [0, 1], floats stay as they are."""
    tf = keras.tf
    return tf.cast(x, tf.float32) * (1.0 / 255.0) if x.dtype == tf.uint8 else tf.cast(x, tf.float32)


def batches(examples: int, batch_size: int, epochs: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the order of examples over all epochs, and the step boundaries in it; the last batch of an epoch
    may be smaller."""
    order = np.concatenate([rng.permutation(examples) for _ in range(epochs)]).astype(np.int32)
    ends = np.minimum(np.arange(batch_size, examples + batch_size, batch_size), examples)
    edges = np.concatenate([[0], *[ends + epoch * examples for epoch in range(epochs)]]).astype(np.int32)
    return order, edges


@dataclass(frozen=True)
class Trained:
    """What a local training leaves.

    Attributes:
        weights: As a device gets them: masked, and rounded where compression rounds.
        masks: Final ones; empty without pruning.
        loss: Mean per example.
        steps: Of the optimizer.
        latent: The weights before they were rounded, which a further training of the same model goes on from.
        observed: What else compression has found out: ranges of activations.
    """

    weights: Arrays
    masks: Arrays
    loss: float
    steps: int
    latent: Arrays = field(default_factory=list)
    observed: Arrays = field(default_factory=list)


class TrainingLoop:
    """A model, its optimizer and one graph that runs a whole local training.

    Not thread-safe: its variables belong to one call at a time.

    Args:
        spec: The model.
        wrapping: What compression does to it inside the graph.
        objective: Any objective of the class and key to be compiled for.
        optimizer: "adam", "sgd" or "momentum".
    """

    def __init__(self, spec: ModelSpec, wrapping: Wrapping, objective: Objective, optimizer: str) -> None:
        with keras.LOCK:
            base = spec.build()
            self._model = objective.outputs(wrapping.wrap(base))
            self._random = RandomLayers(self._model, spec.name)
            self._weights = base.weights
            self._shapes = [tuple(v.shape) for v in self._weights]
            self._sizes = sizes_of(self._shapes)
            self._trainable = base.trainable_variables
            self._optimizer = make_optimizer(optimizer)
            self._optimizer._create_all_weights(self._trainable)
            self._optimizer.learning_rate  # noqa: B018  creates the variable outside the graph
            self._wrapping = wrapping
            self._objective = objective
            self._graph: Any = None

    def _train(
        self, weights: Any, x: Any, y: Any, targets: Any, order: Any, edges: Any, rate: Any, inputs: Any, constants: Any
    ) -> Any:
        tf = keras.tf
        for variable, value in zip(self._weights, tf.split(weights, self._sizes), strict=True):
            variable.assign(tf.cast(tf.reshape(value, variable.shape), variable.dtype))  # some layers count in integers
        for slot in self._optimizer.variables():
            slot.assign(tf.zeros_like(slot))
        self._optimizer.learning_rate.assign(rate)
        self._wrapping.begin(inputs)
        variables = self._trainable

        def step(index: Any, total: Any) -> Any:
            rows = order[edges[index] : edges[index + 1]]
            batch, labels = scaled(tf.gather(x, rows)), tf.gather(y, rows)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                with self._wrapping.step():
                    losses = self._objective.loss(
                        self._model, batch, labels, [tf.gather(t, rows) for t in targets], constants
                    )
                loss = tf.reduce_mean(losses)
            gradients = self._objective.gradients(variables, tape.gradient(loss, variables), constants)
            self._optimizer.apply_gradients(
                zip(gradients, variables, strict=True), experimental_aggregate_gradients=False
            )
            return index + 1, total + tf.reduce_sum(losses)

        steps = tf.size(edges) - 1
        _, total = tf.while_loop(
            lambda index, _: index < steps, keras.apart(step), (tf.constant(0), tf.constant(0.0)), parallel_iterations=1
        )
        self._wrapping.finish()
        trained = tf.concat([tf.cast(tf.reshape(v, [-1]), tf.float32) for v in self._weights], axis=0)
        masks, observed = ([tf.identity(v) for v in vs] for vs in (self._wrapping.masks(), self._wrapping.observed()))
        return trained, masks, observed, total

    def _compiled(self, weights: Any, x: Any, y: Any, targets: Any, order: Any, edges: Any, *rest: Any) -> Any:
        """Traces the graph for any number of examples and steps, so that no client makes it trace again."""
        tf = keras.tf

        def fixed(array: Any) -> Any:
            return tf.TensorSpec(np.shape(array), np.asarray(array).dtype)

        def rows(array: Any) -> Any:
            return tf.TensorSpec([None, *np.shape(array)[1:]], np.asarray(array).dtype)

        per_example = [rows(x), rows(y), [rows(t) for t in targets], rows(order), rows(edges)]
        fixed_parts = [[fixed(a) for a in part] if isinstance(part, list) else fixed(part) for part in rest]
        signature = [fixed(weights), *per_example, *fixed_parts]
        with keras.LOCK:
            function = tf.function(self._train, input_signature=signature, autograph=False)
            return self._random.bind(function.get_concrete_function())

    def run(
        self,
        weights: Arrays,
        x: NDArray[Any],
        y: NDArray[Any],
        objective: Objective,
        inputs: Sequence[Any],
        *,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        rng: np.random.Generator,
    ) -> Trained:
        """Trains from `weights` on (x, y) and returns what came out; nothing is kept between calls.

        Args:
            weights: Start, in the model's own order and shapes.
            x: Inputs (n, *input_shape), uint8 or float32.
            y: Labels (n,), int32.
            objective: With the constants of this call.
            inputs: What the wrapping's `begin` expects.
            epochs: Passes over the examples.
            batch_size: Examples in a step.
            learning_rate: Constant over the call.
            rng: Shuffles the examples, and seeds random layers.
        """
        order, edges = batches(len(y), batch_size, epochs, rng)
        rate = np.float32(learning_rate)
        targets, constants = objective.targets, objective.constants
        flat = joined(weights, np.float32)  # every array more in a call costs a tenth of a millisecond
        if self._graph is None:
            self._graph = self._compiled(flat, x, y, targets, order, edges, rate, inputs, constants)
        self._random.seed(rng)
        trained, masks, observed, total = self._graph(flat, x, y, targets, order, edges, rate, list(inputs), constants)
        latent = split(np.array(trained), self._shapes)
        return Trained(
            latent,
            [m.numpy().astype(bool) for m in masks],
            float(total) / len(order),
            len(edges) - 1,
            latent,
            [o.numpy() for o in observed],
        )

"""Local training as one compiled graph, traced once per process and thread and reused for every client and round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.compression.base import Wrapping
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.random_layers import RandomLayers
from fedcompress.scenario.sections import AugmentationSettings
from fedcompress.training.augmentation import augmented, seeds
from fedcompress.training.objectives import Objective
from fedcompress.training.precision import steps_in
from fedcompress.training.rates import Cosine, of_steps
from fedcompress.wire.content import Arrays
from fedcompress.wire.vector import joined, sizes_of, split

MOMENTUM = 0.9
"""Of the optimizer "momentum"."""


def make_optimizer(name: str, variables: Sequence[Any], **settings: Any) -> Any:
    """Returns an optimizer with all its variables, the learning rate among them, so that no graph creates them.

    Args:
        name: "adam", "sgd" or "momentum".
        variables: What it changes.
        settings: Instead of Keras' own.
    """
    legacy = keras.optimizers.legacy  # whose fused kernels halve the cost of a step
    kind = legacy.Adam if name == "adam" else legacy.SGD
    optimizer = kind(**({"momentum": MOMENTUM} if name == "momentum" else {}), **settings)
    optimizer._create_all_weights(variables)
    optimizer.learning_rate  # noqa: B018  creates the variable
    return optimizer


def reset(optimizer: Any, unless: Any = False) -> None:
    """Has an optimizer start anew, in a graph.

    Args:
        optimizer: Its moments, and the number of its steps.
        unless: A tensor that says whether it goes on from them instead.
    """
    tf = keras.tf
    for slot in optimizer.variables():
        slot.assign(tf.where(unless, slot, tf.zeros_like(slot)))


def assign(variables: Sequence[Any], flat: Any) -> None:
    """Puts the values of one flat tensor into variables, in a graph."""
    tf = keras.tf
    for variable, value in zip(variables, tf.split(flat, sizes_of([tuple(v.shape) for v in variables])), strict=True):
        variable.assign(tf.cast(tf.reshape(value, variable.shape), variable.dtype))  # some layers count in integers


def flattened(variables: Sequence[Any]) -> Any:
    """Returns the values of variables as one flat tensor of float32."""
    tf = keras.tf
    return tf.concat([tf.cast(tf.reshape(v, [-1]), tf.float32) for v in variables], axis=0)


def of_shape(array: Any) -> Any:
    """Returns the type of a graph's input that always has the shape of an array."""
    return keras.tf.TensorSpec(np.shape(array), np.asarray(array).dtype)


def of_rows(array: Any) -> Any:
    """Returns the type of a graph's input that has any number of rows like those of an array."""
    return keras.tf.TensorSpec([None, *np.shape(array)[1:]], np.asarray(array).dtype)


def _types(argument: Any) -> Any:
    """Returns of which type a graph takes an argument: a list of arrays, or one."""
    return [np.asarray(a).dtype for a in argument] if isinstance(argument, list) else np.asarray(argument).dtype


def _tensors(argument: Any, types: Any) -> Any:
    """Returns an argument of a graph as tensors, which it takes faster than arrays."""
    constant = keras.tf.constant
    if isinstance(argument, list):
        return [constant(np.asarray(a, kind)) for a, kind in zip(argument, types, strict=True)]
    return constant(np.asarray(argument, types))


def _check_losses(losses: Any, objective: Objective) -> None:
    """Refuses, as the graph is traced, what is not a loss for each example: a mean would weigh and report wrongly.

    Raises:
        TypeError: It is of another rank than (batch,).
    """
    shape = keras.tf.TensorShape(getattr(losses, "shape", ()))
    if shape.rank not in (None, 1):
        name = type(objective).__name__
        raise TypeError(f"{name}.loss returned shape {shape}, expected a loss for each example, (batch,)")


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
        examples: That the steps went through, each as often as it was in one.
    """

    weights: Arrays
    masks: Arrays
    loss: float
    steps: int
    latent: Arrays = field(default_factory=list)
    observed: Arrays = field(default_factory=list)
    examples: int = 0


class TrainingLoop:
    """A model, its optimizer and one graph that runs a whole local training.

    Not thread-safe: its variables belong to one call at a time.

    Args:
        spec: The model.
        wrapping: What compression does to it inside the graph.
        objective: Any objective of the class and key to be compiled for.
        optimizer: "adam", "sgd" or "momentum".
        augmentation: What images go through before each step.
        precision: What layers compute in, "float32", "bfloat16" or "float16"; weights are float32 in any case.
    """

    def __init__(
        self,
        spec: ModelSpec,
        wrapping: Wrapping,
        objective: Objective,
        optimizer: str,
        augmentation: AugmentationSettings | None = None,
        precision: str = "float32",
    ) -> None:
        with keras.computing("float32" if precision == "float32" else f"mixed_{precision}"):
            base = spec.build()
            self._model = objective.outputs(wrapping.wrap(base))
            self._random = RandomLayers(self._model, spec.name)
            self._weights = base.weights
            self._trainable = base.trainable_variables
            self._optimizer = make_optimizer(optimizer, self._trainable)
            self._steps = steps_in(precision)
            self._wrapping = wrapping
            self._objective = objective
            self._augmentation = augmentation
            self._graph: Any = None
            self._types: list[Any] = []
            self._left: NDArray[Any] = np.zeros(sum(sizes_of([tuple(v.shape) for v in self._weights])), np.float32)

    def _train(
        self,
        weights: Any,
        x: Any,
        y: Any,
        targets: Any,
        draws: Any,
        order: Any,
        edges: Any,
        rates: Any,
        continued: Any,
        inputs: Any,
        constants: Any,
    ) -> Any:
        tf = keras.tf
        assign(self._weights, weights)
        reset(self._optimizer, unless=continued)
        self._steps.begin(continued)
        self._wrapping.begin(inputs)
        variables = self._trainable

        def step(index: Any, total: Any) -> Any:
            self._optimizer.learning_rate.assign(tf.gather(rates, index))
            rows = order[tf.gather(edges, index) : tf.gather(edges, index + 1)]
            batch, labels = scaled(tf.gather(x, rows)), tf.gather(y, rows)
            beside = [*(tf.gather(t, rows) for t in targets), *(drawn[index] for drawn in draws)]
            if self._augmentation is not None:
                batch = augmented(batch, self._augmentation, beside.pop())
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                with self._wrapping.step():
                    losses = self._objective.loss(self._model, batch, labels, beside, constants)
                _check_losses(losses, self._objective)
                loss = self._steps.scaled(tf.reduce_mean(losses))
            gradients = self._steps.unscaled(tape.gradient(loss, variables))
            self._steps.apply(self._optimizer, self._objective.gradients(variables, gradients, constants), variables)
            return index + 1, total + tf.reduce_sum(losses)

        steps = tf.size(edges) - 1
        _, total = tf.while_loop(
            lambda index, _: index < steps, keras.apart(step), (tf.constant(0), tf.constant(0.0)), parallel_iterations=1
        )
        self._wrapping.finish()
        masks, observed = ([tf.identity(v) for v in vs] for vs in (self._wrapping.masks(), self._wrapping.observed()))
        return flattened(self._weights), masks, observed, total

    def _compiled(
        self, weights: Any, x: Any, y: Any, targets: Any, draws: Any, order: Any, edges: Any, rates: Any, *rest: Any
    ) -> Any:
        """Traces the graph for any number of examples and steps, so that no client makes it trace again."""
        beside = ([of_rows(a) for a in part] for part in (targets, draws))
        per_step = [of_rows(order), of_rows(edges), of_rows(rates)]
        fixed = [[of_shape(a) for a in part] if isinstance(part, list) else of_shape(part) for part in rest]
        signature = [of_shape(weights), of_rows(x), of_rows(y), *beside, *per_step, *fixed]
        with keras.building(), keras.LOCK:
            function = keras.tf.function(self._train, input_signature=signature, autograph=False)
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
        learning_rate: float | Cosine,
        rng: np.random.Generator,
        steps: int | None = None,
        continued: bool = False,
    ) -> Trained:
        """Trains from `weights` on (x, y) and returns what came out; nothing of one call is seen by another.

        Args:
            weights: Start, in the model's own order and shapes.
            x: Inputs (n, *input_shape), uint8 or float32.
            y: Labels (n,), int32.
            objective: With the constants of this call.
            inputs: What the wrapping's `begin` expects.
            epochs: Passes over the examples.
            batch_size: Examples in a step.
            learning_rate: Constant over the call, or what it falls along.
            rng: Shuffles the examples, draws for the objective and for augmentation, and seeds random layers.
            steps: Instead of `epochs`: the last pass may end early.
            continued: Whether this is a part of a longer training, not its first: the optimizer goes on from where the
                call before left it.

        Raises:
            ValueError: It is to go on from other weights than the call before left, or some of them pruned.
        """
        if steps is not None:
            epochs = ceil(steps / ceil(len(y) / batch_size))
        order, edges = batches(len(y), batch_size, epochs, rng)
        edges = edges[: len(edges) if steps is None else steps + 1]
        rates = of_steps(learning_rate, len(edges) - 1)
        targets, constants, draws = objective.targets, objective.constants, objective.per_step(len(edges) - 1, rng)
        draws = [*draws, *seeds(self._augmentation, len(edges) - 1, rng)]
        flat = joined(weights, np.float32)  # every array more in a call costs a tenth of a millisecond
        if continued and not np.array_equal(flat, np.where(flat == 0, flat, self._left)):
            raise ValueError("a training goes on from weights that are not those that the training before it left")
        arguments = (flat, x, y, targets, draws, order, edges, rates, np.bool_(continued), list(inputs), constants)
        if self._graph is None:
            self._graph, self._types = self._compiled(*arguments), [*map(_types, arguments)]
        self._random.seed(rng)
        trained, masks, observed, total = self._graph(*map(_tensors, arguments, self._types))
        self._left = np.array(trained)
        latent = split(self._left, [tuple(v.shape) for v in self._weights])
        return Trained(
            latent,
            [m.numpy().astype(bool) for m in masks],
            float(total) / int(edges[-1]),
            len(edges) - 1,
            latent,
            [o.numpy() for o in observed],
            int(edges[-1]),
        )

"""Local training of a conditional GAN as one compiled graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.generators.sampling import stateless_seed, training_cost
from fedcompress.generators.spec import Gan, GanSpec
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.random_layers import RandomLayers
from fedcompress.training import work
from fedcompress.training.loop import assign, batches, flattened, make_optimizer, of_rows, of_shape, reset, scaled
from fedcompress.wire.content import Arrays
from fedcompress.wire.vector import joined, shapes_of, split

DECAY = 0.995
"""Of the exponential average over steps of the generator's weights, which is what a training returns (Yazici et al.
2019): a generator circles around its optimum."""
WARM_UP = 10
"""After t steps the average reaches back t / WARM_UP steps at most."""


@dataclass(frozen=True)
class TrainedGan:
    """What a local training leaves.

    Attributes:
        gan: The discriminator of the last step, and the average over the last steps of the generator's weights.
        generator_loss: Mean over steps, the guide's part included.
        discriminator_loss: Mean over steps.
        steps: Their number.
    """

    gan: Gan
    generator_loss: float
    discriminator_loss: float
    steps: int


@dataclass(frozen=True)
class GanState:
    """Where a training over several calls stands: with the arguments of the next one it decides all that follows.

    Attributes:
        arrays: Every variable of a `GanLoop`, optimizers included, in its own order.
        steps: That were done.
    """

    arrays: Arrays
    steps: int


class GanLoop:
    """Two networks, their optimizers and one graph that runs a whole local training.

    Not thread-safe: its variables belong to one call at a time.

    Args:
        spec: The GAN.
        guide: A classifier whose cross-entropy on generated images the generator minimises as well, or None.
        rates: Learning rates of generator and discriminator; None: those of its kind.
    """

    def __init__(self, spec: GanSpec, guide: ModelSpec | None, rates: tuple[float, float] | None = None) -> None:
        with keras.LOCK:
            self._networks = spec.networks
            templates = (spec.generator_template, spec.discriminator_template)
            self._generator, self._discriminator = ([keras.tf.Variable(a) for a in arrays] for arrays in templates)
            self._average = [keras.tf.Variable(a, trainable=False) for a in templates[0]]
            self._shapes = tuple(shapes_of(arrays) for arrays in templates)
            rates = rates or (self._networks.generator_rate, self._networks.discriminator_rate)
            self._optimizers = [
                make_optimizer("adam", variables, learning_rate=rate, beta_1=self._networks.beta_1)
                for rate, variables in zip(rates, (self._generator, self._discriminator), strict=True)
            ]
            slots = [slot for optimizer in self._optimizers for slot in optimizer.variables()]
            self._variables = [*self._generator, *self._average, *self._discriminator, *slots]
            self._guide = guide.build() if guide else None
            self._random = RandomLayers(self._guide, guide.name) if guide else None
            self._graph: Any = None

    def _train(
        self, generator: Any, discriminator: Any, guide: Any, x: Any, y: Any, z: Any, order: Any, edges: Any, *rest: Any
    ) -> Any:
        tf = keras.tf
        factors, seed, before = rest
        self._begin(generator, discriminator, before > 0)
        if self._guide is not None:
            assign(self._guide.weights, guide)

        def step(index: Any, totals: Any) -> Any:
            rows = order[edges[index] : edges[index + 1]]
            real, labels = scaled(tf.gather(x, rows)), tf.gather(y, rows)
            losses = self._step(real, labels, self._noise(z, rows, seed, index), factors)
            self._averaged(before + index)
            return index + 1, totals + tf.stack(losses)

        steps = tf.size(edges) - 1
        _, totals = tf.while_loop(
            lambda index, _: index < steps, keras.apart(step), (tf.constant(0), tf.zeros([2])), parallel_iterations=1
        )
        return flattened(self._average), flattened(self._discriminator), totals

    def _begin(self, generator: Any, discriminator: Any, continued: Any) -> None:
        """Starts from these weights (flat) and with new optimizers, unless a training is `continued`."""
        tf = keras.tf
        starts = ((self._generator, generator), (self._average, generator), (self._discriminator, discriminator))
        for variables, given in starts:
            assign(variables, tf.where(continued, flattened(variables), given))
        for optimizer in self._optimizers:
            reset(optimizer, unless=continued)

    def _noise(self, z: Any, rows: Any, seed: Any, index: Any) -> Any:
        """Returns the noise (batch, noise) of a step, freshly drawn."""
        tf = keras.tf
        shape = [tf.size(rows), self._networks.noise]
        return tf.random.stateless_normal(shape, tf.stack([seed[0] + index, seed[1]]))

    def _averaged(self, index: Any) -> None:
        """Moves the average of the generator's weights towards those of this step."""
        tf = keras.tf
        done = tf.cast(index, tf.float32)
        decay = tf.minimum(DECAY, done / (done + WARM_UP))
        for average, variable in zip(self._average, self._generator, strict=True):
            average.assign_add((1.0 - decay) * (variable - average))

    def _step(self, real: Any, labels: Any, z: Any, factors: Any) -> tuple[Any, Any]:
        """Updates the discriminator, then the generator on the same images; returns their losses."""
        tf, networks = keras.tf, self._networks
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(self._generator)
            fake = networks.generate(self._generator, z, labels)
            with outer.stop_recording():
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(self._discriminator)
                    discriminator_loss = networks.discriminator_loss(
                        self._discriminator, real, tf.stop_gradient(fake), labels
                    )
                self._apply(1, self._discriminator, tape.gradient(discriminator_loss, self._discriminator))
            generator_loss = networks.generator_loss(self._discriminator, fake, labels)
            generator_loss += self._beside(fake, real, labels, z, factors)
        self._move_generator(outer.gradient(generator_loss, self._generator), factors)
        return generator_loss, discriminator_loss

    def _beside(self, fake: Any, real: Any, labels: Any, z: Any, factors: Any) -> Any:
        """Returns what the generator minimises besides the adversarial loss: the guide's cross-entropy."""
        if self._guide is None:
            return 0.0
        logits = self._guide(fake, training=False)
        errors = keras.tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return factors[0] * keras.tf.reduce_mean(errors)

    def _move_generator(self, gradients: list[Any], factors: Any) -> None:
        self._apply(0, self._generator, gradients)

    def _apply(self, which: int, variables: list[Any], gradients: list[Any]) -> None:
        pairs = zip(gradients, variables, strict=True)
        self._optimizers[which].apply_gradients(pairs, experimental_aggregate_gradients=False)

    def _compiled(self, *inputs: Any) -> Any:
        """Traces the graph for any number of examples and steps, so that no client makes it trace again."""
        weights, per_example, rest = inputs[:3], inputs[3:8], inputs[8:]
        signature = [*map(of_shape, weights), *map(of_rows, per_example), *map(of_shape, rest)]
        with keras.LOCK:
            function = keras.tf.function(self._train, input_signature=signature, autograph=False)
            concrete = function.get_concrete_function()
            return self._random.bind(concrete) if self._random else concrete

    def run(
        self,
        gan: Gan,
        examples: Examples,
        guide: Arrays,
        guide_weight: float,
        *,
        epochs: int,
        batch_size: int,
        rng: np.random.Generator,
    ) -> TrainedGan:
        """Trains from `gan` on the examples; nothing is kept between calls."""
        return self._run(gan, examples, guide, [guide_weight], epochs=epochs, batch_size=batch_size, rng=rng, before=0)

    def go_on(
        self, state: GanState, examples: Examples, guide: Arrays, guide_weight: float, **how: Any
    ) -> tuple[TrainedGan, GanState]:
        """Trains for an epoch more from where a training stands; returns where it stands then."""
        return self._gone_on(state, examples, [guide_weight], guide=guide, **how)

    def _gone_on(
        self,
        state: GanState,
        examples: Examples,
        factors: Sequence[float],
        z: NDArray[Any] | None = None,
        guide: Arrays | None = None,
        **how: Any,
    ) -> tuple[TrainedGan, GanState]:
        for variable, array in zip(self._variables, state.arrays, strict=True):
            variable.assign(array)
        start = Gan(*([v.numpy() for v in variables] for variables in (self._generator, self._discriminator)))
        trained = self._run(start, examples, guide or [], factors, z, epochs=1, before=state.steps, **how)
        arrays = [variable.numpy() for variable in self._variables]
        return trained, GanState(arrays, state.steps + trained.steps)

    def initial(self, gan: Gan) -> GanState:
        """Returns where a training stands that begins with these weights."""
        slots = self._variables[2 * len(self._generator) + len(self._discriminator) :]
        zeros = [np.zeros(slot.shape, slot.dtype.as_numpy_dtype) for slot in slots]
        return GanState([*gan.generator, *gan.generator, *gan.discriminator, *zeros], 0)

    def _run(
        self,
        gan: Gan,
        examples: Examples,
        guide: Arrays,
        factors: Sequence[float],
        z: NDArray[Any] | None = None,
        *,
        epochs: int,
        batch_size: int,
        rng: np.random.Generator,
        before: int,
    ) -> TrainedGan:
        order, edges = batches(len(examples), batch_size, epochs, rng)
        networks = (joined(gan.generator, np.float32), joined(gan.discriminator, np.float32))
        noise = np.empty((0, self._networks.noise), np.float32) if z is None else z
        inputs = (
            *networks, joined(guide, np.float32), examples.x, examples.y, noise, order, edges,
            np.array(factors, np.float32), stateless_seed(rng), np.int32(before),
        )  # fmt: skip
        if self._graph is None:
            self._graph = self._compiled(*inputs)
        if self._random:
            self._random.seed(rng)
        generator, discriminator, totals = self._graph(*map(keras.tf.constant, inputs))
        steps = len(edges) - 1
        generator_loss, discriminator_loss = (float(total) / steps for total in totals.numpy())
        trained = Gan(split(np.array(generator), self._shapes[0]), split(np.array(discriminator), self._shapes[1]))
        return TrainedGan(trained, generator_loss, discriminator_loss, steps)


def train(
    spec: GanSpec,
    gan: Gan,
    examples: Examples,
    *,
    epochs: int,
    batch_size: int = 64,
    rng: np.random.Generator,
    guide: tuple[ModelSpec, Arrays] | None = None,
    guide_weight: float = 0.0,
) -> TrainedGan:
    """Trains a conditional GAN on a client's examples; generated images have the labels of the batch's real ones.

    The same arguments and generator state give the same bits on any thread. Optimizers start anew.

    Args:
        spec: The GAN.
        gan: Start.
        examples: At least one; images of `spec.input_shape`, uint8, or float32 in [0, 1].
        epochs: Passes over the examples.
        batch_size: Examples in a step.
        rng: Shuffles the examples and seeds the noise.
        guide: A classifier and its weights, whose cross-entropy on generated images the generator minimises as well.
        guide_weight: Factor of that term, >= 0.

    Raises:
        FloatingPointError: Training diverged.
    """
    model, weights = guide or (None, [])
    key = ("train gan", spec, model and model.key, examples.x.dtype.str)
    work.add(("gan", spec), epochs * len(examples), lambda: training_cost(spec))
    loop: GanLoop = keras.compiled(key, lambda: GanLoop(spec, model))
    trained = loop.run(gan, examples, weights, guide_weight, epochs=epochs, batch_size=batch_size, rng=rng)
    check_losses(trained)
    return trained


@dataclass(frozen=True)
class ByEpochs:
    """A training over several calls, an epoch in each.

    Attributes:
        spec: The GAN.
        rates: Learning rates of generator and discriminator; None: those of its kind.
        guide: A classifier whose cross-entropy on generated images the generator minimises as well, or None.
        guide_weight: Factor of that term, >= 0.
    """

    spec: GanSpec
    rates: tuple[float, float] | None = None
    guide: ModelSpec | None = None
    guide_weight: float = 0.0

    @property
    def _loop(self) -> GanLoop:
        key = ("train gan by epochs", self.spec, self.rates, self.guide and self.guide.key)
        loop: GanLoop = keras.compiled(key, lambda: GanLoop(self.spec, self.guide, self.rates))
        return loop

    def begun(self, gan: Gan) -> GanState:
        """Returns where a training stands that begins with these weights."""
        return self._loop.initial(gan)

    def epoch(
        self, state: GanState, examples: Examples, guide: Arrays, *, batch_size: int, rng: np.random.Generator
    ) -> tuple[TrainedGan, GanState]:
        """Goes on for an epoch, optimizers included; see `train`.

        Args:
            state: Where the training stands.
            examples: As for `train`.
            guide: The classifier's weights; none where there is no classifier.
            batch_size: Examples in a step.
            rng: Shuffles the examples and seeds the noise.

        Returns:
            What a training leaves that ends here, and where it stands.

        Raises:
            FloatingPointError: Training diverged.
        """
        trained, after = self._loop.go_on(state, examples, guide, self.guide_weight, batch_size=batch_size, rng=rng)
        check_losses(trained)
        return trained, after


def check_losses(trained: TrainedGan) -> None:
    """Raises FloatingPointError if a training diverged."""
    losses = (trained.generator_loss, trained.discriminator_loss)
    if not np.isfinite(losses).all():
        raise FloatingPointError(f"training of the GAN diverged: its losses are {losses[0]} and {losses[1]}")

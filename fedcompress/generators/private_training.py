"""Training of a conditional GAN whose discriminator alone sees the data, by differentially private SGD.

DP-SGD (Abadi et al. 2016): a step takes a Poisson sample of the examples, clips the gradient of each one, adds normal
noise to the sum and divides by the sample's expected size. The generator learns from the discriminator only, which is
post-processing, as is the average of its weights. Many steps of the discriminator for one of the generator, and large
batches, are what makes it good (Bie et al. 2023, "Private GANs, revisited").
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.generators.dp_sgd import DpSgd, Pace
from fedcompress.generators.layers import RecordedLayers, clipped_sum
from fedcompress.generators.networks import Networks, initial
from fedcompress.generators.sampling import training_cost
from fedcompress.generators.spec import Gan, GanSpec
from fedcompress.generators.training import DECAY, WARM_UP
from fedcompress.privacy.accounting import Release
from fedcompress.privacy.sampling import poisson_samples
from fedcompress.training import work
from fedcompress.training.loop import assign, flattened, make_optimizer, of_rows, of_shape, reset, scaled
from fedcompress.wire.vector import joined, shapes_of, split

WHAT = "discriminator"
"""The release, as an accountant calls it."""

PART = 128
"""Examples whose gradients are in memory at once, about; larger batches are sums over such parts."""

LADDER = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Steps of the discriminator for one of the generator, when that number adapts (Bie et al. 2023, section 4.2)."""
LEAST_ACCURACY = 0.6
"""Of the discriminator on generated images; below it, it is given the next number of steps."""
MEMORY = 0.99
"""Decay of the average of that accuracy, over steps of the generator; after a change it has 1 / (1 - MEMORY) of them
time to follow."""


@dataclass(frozen=True)
class PrivateGan:
    """What a private training leaves.

    Attributes:
        gan: The discriminator of the last step, and the average over steps of the generator's weights.
        generator_loss: Mean over the generator's steps; NaN without any.
        discriminator_loss: Mean over steps, on generated images alone: the one on real ones is not private.
        steps: Of the discriminator.
        pace: With which a training goes on.
        releases: What it costs: neighbouring data sets differ in one example that is there or is not.
    """

    gan: Gan
    generator_loss: float
    discriminator_loss: float
    steps: int
    pace: Pace
    releases: tuple[Release, ...]


@dataclass(frozen=True)
class _Parts:
    """The samples of all steps, in parts of one shape, so that no sample makes the graph trace again.

    Attributes:
        rows: (steps, parts, size), rows of the examples; -1 for none.
        used: (steps,), parts in which a step has somebody or makes images; the later ones are empty.
        generated: Parts with generated images, `size` in each; it does not depend on the samples.
    """

    rows: NDArray[np.int32]
    used: NDArray[np.int32]
    generated: int


def _parts(samples: list[NDArray[np.int32]], expected: float) -> _Parts:
    generated = max(1, round(expected / PART))
    size = ceil((expected + 3.0 * sqrt(expected)) / generated)
    needed = [max(generated, -(-len(sample) // size)) for sample in samples]
    rows = np.full((len(samples), max(needed), size), -1, np.int32)
    for step, sample in zip(rows, samples, strict=True):
        step.reshape(-1)[: len(sample)] = sample
    return _Parts(rows, np.array(needed, np.int32), generated)


def normals(size: int, secret: Any) -> Any:
    """Returns standard normal numbers (size,).

    TensorFlow makes them by Box and Muller's formula from uniform numbers of at least 1e-7, so that none is further out
    than 5.678, where a normal number is once in 7e7: what is not added there would tell an example for certain. The sum
    of two over sqrt(2) goes to 8.03, which a normal number passes once in 1e15.

    Args:
        size: How many.
        secret: (2,) numbers that they are drawn by.
    """
    tf = keras.tf
    return tf.reduce_sum(tf.random.stateless_normal([2, size], secret), axis=0) * 0.5**0.5


class PrivateLoop:
    """Two networks, their optimizers and one graph that runs a whole private training.

    Not thread-safe: its variables belong to one call at a time.

    Args:
        spec: The GAN.

    Raises:
        InputError: Gradients of single examples are not to be had of its discriminator.
    """

    def __init__(self, spec: GanSpec) -> None:
        with keras.LOCK:
            tf = keras.tf
            self._networks = spec.networks
            templates = (spec.generator_template, spec.discriminator_template)
            self._generator, self._discriminator = ([tf.Variable(a) for a in arrays] for arrays in templates)
            self._average = [tf.Variable(a, trainable=False) for a in templates[0]]
            self._shapes = tuple(shapes_of(arrays) for arrays in templates)
            check_per_example(spec.name, self._networks)
            rates = (self._networks.generator_rate, self._networks.discriminator_rate)
            self._optimizers = [
                make_optimizer("adam", variables, learning_rate=rate, beta_1=self._networks.beta_1)
                for rate, variables in zip(rates, (self._generator, self._discriminator), strict=True)
            ]
            self._graph: Any = None

    def _train(self, generator: Any, discriminator: Any, x: Any, y: Any, rows: Any, *rest: Any) -> Any:
        tf = keras.tf
        used, secrets, generated, seed, images, scales, before, adaptive = rest
        assign(self._generator, generator)
        assign(self._average, generator)
        assign(self._discriminator, discriminator)
        for optimizer in self._optimizers:
            reset(optimizer)

        def step(index: Any, pace: Any, totals: Any) -> Any:
            here = tf.stack([seed[0] + index, seed[1]])
            parts = (rows[index], used[index], generated)
            fake_loss = self._discriminator_step(x, y, parts, scales, secrets[index], here)
            pace = pace._replace(since=pace.since + 1)
            pace, made = tf.cond(
                pace.since >= pace.every,
                lambda: self._paced_generator_step(pace, images, here, totals[2], adaptive),
                lambda: (pace, tf.zeros([2])),
            )
            return index + 1, pace, totals + tf.concat([[fake_loss], made], axis=0)

        start = (tf.constant(0), Pace(*tf.unstack(before)), tf.zeros([3]))
        _, pace, totals = tf.while_loop(
            lambda index, *_: index < tf.size(used), keras.apart(step), start, parallel_iterations=1
        )
        return flattened(self._average), flattened(self._discriminator), tf.stack(pace), totals

    def _discriminator_step(self, x: Any, y: Any, parts: Any, scales: Any, secret: Any, seed: Any) -> Any:
        """Updates the discriminator; returns its mean loss on generated images.

        The term of generated images touches no data, so it is outside what the noise hides: clipped like the other one,
        which keeps the two in balance, but without noise.
        """
        tf = keras.tf
        rows, used, generated = parts
        clip, deviation, expected = tf.unstack(scales)
        size = sum(v.shape.num_elements() for v in self._discriminator)

        def part(index: Any, total: Any, loss: Any) -> Any:
            real = tf.cast(rows[index] >= 0, tf.float32) / expected
            fake = tf.where(index < generated, 1.0 / tf.cast(generated * tf.size(rows[index]), tf.float32), 0.0)
            chosen = tf.maximum(rows[index], 0)
            images, labels = self._generated(tf.size(chosen), tf.stack([seed[0], seed[1] + 2 * index]))
            gradient, losses = self._clipped(
                (scaled(tf.gather(x, chosen)), images), (tf.gather(y, chosen), labels), clip, (real, fake)
            )
            return index + 1, total + gradient, loss + fake * tf.reduce_sum(losses)

        _, total, loss = tf.while_loop(
            lambda index, *_: index < used,
            keras.apart(part),
            (tf.constant(0), tf.zeros([size]), tf.constant(0.0)),
            parallel_iterations=1,
        )
        total += deviation / expected * normals(size, secret)
        shapes = [v.shape for v in self._discriminator]
        arrays = tf.split(total, [shape.num_elements() for shape in shapes])
        self._apply(1, self._discriminator, [tf.reshape(*pair) for pair in zip(arrays, shapes, strict=True)])
        return loss

    def _clipped(self, images: Any, labels: Any, clip: Any, factors: Any) -> tuple[Any, Any]:
        """Returns the flat sum of clipped gradients of real and of generated examples, and the losses of the latter.

        Args:
            images: Real and generated ones, equally many.
            labels: Likewise.
            clip: Largest norm of an example's gradient.
            factors: (batch,) of the real ones, and one number for all generated ones.
        """
        tf, networks, layers = keras.tf, self._networks, RecordedLayers()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._discriminator)
            scores = networks.scores(self._discriminator, tf.concat(images, 0), tf.concat(labels, 0), layers)
            of_real, of_fake = tf.split(scores, 2)
            real_losses, fake_losses = networks.real_loss(of_real), networks.fake_loss(of_fake)
            losses = tf.concat([real_losses, fake_losses], axis=0)
        factors = tf.concat([factors[0], tf.fill(tf.shape(fake_losses), factors[1])], axis=0)
        sums, _ = clipped_sum(layers.gradients(tape, losses), clip, factors)
        return tf.concat(sums, axis=0), fake_losses

    def _paced_generator_step(self, pace: Any, images: Any, seed: Any, done: Any, adaptive: Any) -> Any:
        """Updates the generator; returns when the next such step is due, and its loss and 1."""
        tf = keras.tf
        loss, accuracy = self._generator_step(images, seed)
        self._averaged(done)
        mean = MEMORY * pace.accuracy + (1.0 - MEMORY) * accuracy
        ladder = tf.constant(LADDER, tf.float32)
        higher = tf.reduce_min(tf.where(ladder > pace.every, ladder, ladder[-1]))
        behind = adaptive & (mean < LEAST_ACCURACY) & (pace.waited >= 1.0 / (1.0 - MEMORY))
        every = tf.where(behind, tf.maximum(higher, pace.every), pace.every)
        waited = tf.where(behind, 0.0, pace.waited + 1.0)
        return Pace(every, tf.constant(0.0), mean, waited), tf.stack([loss, 1.0])

    def _generator_step(self, images: Any, seed: Any) -> tuple[Any, Any]:
        """Updates the generator; returns its loss, and the part of its images that the discriminator told apart."""
        tf, networks = keras.tf, self._networks
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._generator)
            fake, labels = self._generated(images, seed - [0, 2])
            loss = networks.generator_loss(self._discriminator, fake, labels)
        self._apply(0, self._generator, tape.gradient(loss, self._generator))
        told = networks.scores(self._discriminator, fake, labels) < 0.0
        return loss, tf.reduce_mean(tf.cast(told, tf.float32))

    def _generated(self, images: Any, seed: Any) -> tuple[Any, Any]:
        """Returns images and their labels, which are uniform: those of a private batch would tell what is in it."""
        tf, networks = keras.tf, self._networks
        labels = tf.random.stateless_uniform([images], tf.stack([seed[0], seed[1] + 1]), 0, networks.classes, tf.int32)
        return networks.generate(
            self._generator, tf.random.stateless_normal([images, networks.noise], seed), labels
        ), labels

    def _averaged(self, done: Any) -> None:
        """Moves the average of the generator's weights towards those of this step."""
        decay = keras.tf.minimum(DECAY, done / (done + WARM_UP))
        for average, variable in zip(self._average, self._generator, strict=True):
            average.assign_add((1.0 - decay) * (variable - average))

    def _apply(self, which: int, variables: list[Any], gradients: list[Any]) -> None:
        pairs = zip(gradients, variables, strict=True)
        self._optimizers[which].apply_gradients(pairs, experimental_aggregate_gradients=False)

    def _compiled(self, *inputs: Any) -> Any:
        """Traces the graph for any number of examples, steps and parts, so that no client makes it trace again."""
        tf, (weights, per_example, (rows, used, secrets), rest) = keras.tf, (
            inputs[:2], inputs[2:4], inputs[4:7], inputs[7:],
        )  # fmt: skip
        signature = [
            *map(of_shape, weights), *map(of_rows, per_example), tf.TensorSpec([None, None, None], rows.dtype),
            of_rows(used), of_rows(secrets), *map(of_shape, rest),
        ]  # fmt: skip
        with keras.LOCK:
            function = tf.function(self._train, input_signature=signature, autograph=False)
            return function.get_concrete_function()

    def run(
        self, gan: Gan, examples: Examples, settings: DpSgd, steps: int, rng: np.random.Generator,
        noise: np.random.Generator, pace: Pace,
    ) -> PrivateGan:  # fmt: skip
        """Trains from `gan` on the examples; nothing is kept between calls."""
        sampling = settings.sampling(len(examples))
        expected = sampling * len(examples)
        parts = _parts(poisson_samples(len(examples), sampling, steps, noise), expected)
        secrets = noise.integers(-(2**63), 2**63, (steps, 2), endpoint=False)
        scales = np.array([settings.clip, settings.noise * settings.clip, expected], np.float32)
        inputs = (
            joined(gan.generator, np.float32), joined(gan.discriminator, np.float32), examples.x, examples.y,
            parts.rows, parts.used, secrets, np.int32(parts.generated), rng.integers(0, 2**31, 2).astype(np.int32),
            np.int32(settings.generator_batch), scales, np.array(pace, np.float32), np.bool_(settings.adaptive),
        )  # fmt: skip
        if self._graph is None:
            self._graph = self._compiled(*inputs)
        generator, discriminator, after, totals = self._graph(*map(keras.tf.constant, inputs))
        fake_loss, generator_loss, generator_steps = map(float, totals.numpy())
        trained = Gan(split(np.array(generator), self._shapes[0]), split(np.array(discriminator), self._shapes[1]))
        return PrivateGan(
            trained, generator_loss / generator_steps if generator_steps else nan, fake_loss / steps, steps,
            Pace(*map(float, after.numpy())), (Release(WHAT, settings.noise, sampling, steps),),
        )  # fmt: skip


def check_per_example(name: str, networks: Networks) -> None:
    """Raises InputError if a discriminator's gradients cannot be had for each example by itself.

    Args:
        name: Of the GAN, for the message.
        networks: What it computes.
    """
    tf, layers = keras.tf, RecordedLayers()
    shape = (2, networks.height, networks.width, networks.channels)
    images = tf.constant(np.random.default_rng(0).random(shape, np.float32))
    random = [tf.constant(a) for a in initial(networks.discriminator, np.random.default_rng(1))]
    with tf.GradientTape() as tape:
        tape.watch(images)
        first = networks.scores(random, images, tf.zeros([2], tf.int32), layers)[0]
    if np.abs(tape.gradient(first, images)[1]).max() > 0:
        raise InputError(
            f"GAN {name!r}: its discriminator mixes the examples of a batch, as batch normalisation does, so that no "
            "example's gradient can be clipped by itself; use one that normalises nothing, or each example alone."
        )
    if len(layers.weights) != len(random) or any(a is not b for a, b in zip(layers.weights, random, strict=True)):
        raise InputError(
            f"GAN {name!r}: its discriminator has weights beside the kernels and biases of its layers, of which "
            "gradients of single examples are not known; for private training all of them belong to `layers`."
        )


def train_privately(
    spec: GanSpec,
    gan: Gan,
    examples: Examples,
    settings: DpSgd,
    *,
    steps: int,
    rng: np.random.Generator,
    noise: np.random.Generator,
    pace: Pace | None = None,
) -> PrivateGan:
    """Trains a conditional GAN on examples that only its discriminator sees, by DP-SGD.

    The same arguments and generator states give the same bits on any thread. Optimizers start anew. What leaves is
    private together: the generator, the discriminator and the losses, but not the number of examples.

    Args:
        spec: The GAN.
        gan: Start, which has not seen the examples, or at a cost that is accounted for.
        examples: At least one; images of `spec.input_shape`, uint8, or float32 in [0, 1].
        settings: Of DP-SGD.
        steps: Of the discriminator.
        rng: Of generated images.
        noise: Of what has to be secret: the samples and the noise (`privacy.noise.source_of`).
        pace: What a training that this one goes on with has left; None: it begins.

    Raises:
        InputError: The discriminator mixes examples, as batch normalisation does.
        FloatingPointError: Training diverged.
    """
    drawn = round(steps * min(settings.batch_size, len(examples)))
    work.add(("gan", spec), drawn, lambda: training_cost(spec))
    loop: PrivateLoop = keras.compiled(("train gan privately", spec, examples.x.dtype.str), lambda: PrivateLoop(spec))
    begun = Pace(settings.discriminator_steps)
    trained = loop.run(gan, examples, settings, steps, rng, noise, pace or begun)
    if not all(np.isfinite(array).all() for array in (*trained.gan.generator, *trained.gan.discriminator)):
        raise FloatingPointError("private training of the GAN diverged: its weights are not finite")
    return trained

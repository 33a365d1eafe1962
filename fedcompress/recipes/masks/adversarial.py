"""The GAN that learns from an archive to propose masks: one compiled graph, networks of any shape side by side.

The generator is that of `fedcompress.masks.proposer`, here with gradients: a draw is a hard mask going forward and
sigmoid((logit + noise) / temperature) going back (straight-through). The discriminator is a set encoder on features and
mask with two outputs: whether a mask is one of the archive's good ones, and what part of the dense network's accuracy
it comes to when it is retrained, whose gradient trains the generator as well. The generator also learns good masks by
their likelihood: of two draws of noise the nearer one, as in implicit maximum likelihood (Li & Malik 2018), so that
noise covers what there is. Two draws of a network are to differ by the more the more their noise does: the mode-seeking
term of Mao et al. 2019, eq. 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.masks.features import FEATURES, POSITION
from fedcompress.masks.head import head_shapes
from fedcompress.masks.proposer import Proposer, shapes
from fedcompress.recipes.masks.graphs import discriminate, generate, noise
from fedcompress.recipes.masks.settings import Learning
from fedcompress.recipes.masks.trials import Network
from fedcompress.training.loop import make_optimizer

PARTS = 20
"""Of a training: after each, the held-out networks are looked at."""
AVERAGED = 0.4
"""Part of the training over which weights are averaged."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Point:
    """How far the training is.

    Attributes:
        step: Steps done.
        discriminator: Its loss on the last ones: whether masks are good ones.
        accuracy: Loss of the accuracy head on the last ones.
        generator: Its loss on the last ones.
        correlation: Between foretold and measured accuracy, over masks of networks that are held out; NaN if constant.
        foretold: Part of the dense accuracy that the head expects of draws for these networks.
    """

    step: int
    discriminator: float
    accuracy: float
    generator: float
    correlation: float
    foretold: float


@dataclass(frozen=True, eq=False)
class Table:
    """An archive as arrays; networks are padded to the widest.

    Attributes:
        features: (networks, channels, features), normalised.
        member: (networks, layers, channels): 1 where a channel is of a layer.
        mask: (masks, channels).
        network: (masks,).
        sparsity: (masks,).
        kept: Number of channels that a mask keeps, (masks,).
        part: Of the dense accuracy, (masks,), in [0, 1].
        good: Whether a mask is of the best of its network and sparsity, (masks,).
    """

    features: Array
    member: Array
    mask: Array
    network: Array
    sparsity: Array
    kept: Array
    part: Array
    good: Array


def learn(
    networks: Sequence[Network],
    settings: Learning,
    rng: np.random.Generator,
    progress: Callable[[Point], None] = lambda point: None,
) -> tuple[Proposer, list[Point]]:
    """Trains a proposer; returns it and its learning curve.

    Raises:
        InputError: The archive has too few networks to hold one out, or no masks to tell apart.
    """
    # Several workers write an archive in the order in which they are done.
    networks = sorted(networks, key=lambda network: network.source)
    if len(networks) < 2:
        raise InputError(
            f"an archive of {len(networks)} network{'s' if len(networks) != 1 else ''} cannot train a proposer: at "
            "least one is held out; collect more seeds or models."
        )
    order = rng.permutation(len(networks))
    count = min(max(round(settings.held_out * len(networks)), 1), len(networks) - 1)
    held = [networks[i] for i in order[:count]]
    learned = [network for network in networks if network not in held]
    mean, deviation = _normalisation(learned, settings)
    table, unseen = (_table(part, settings, mean, deviation) for part in (learned, held))
    if not table.good.any() or table.good.all():
        raise InputError("the archive has no masks to tell apart: expected several for each network and sparsity.")
    gan = _Gan(table, settings, rng)
    curve, found = [], []
    for part in np.array_split(np.arange(settings.steps), min(PARTS, settings.steps)):
        losses = gan.train(len(part), rng)
        correlation, foretold = gan.judged(unseen, rng)
        curve.append(Point(int(part[-1]) + 1, *losses, correlation, foretold))
        progress(curve[-1])
        found.append(gan.weights)
    # Averaged over the last part of the way, as both networks go around what they aim at (Izmailov et al. 2018).
    last = found[-max(round(AVERAGED * len(found)), 1) :]
    generator, head = ({n: np.mean([w[part][n] for w in last], axis=0) for n in last[0][part]} for part in (0, 1))
    about = {
        "learned": [list(network.source) for network in learned],
        "held_out": [list(network.source) for network in held],
        "masks": len(table.mask),
        "settings": settings.model_dump(mode="json"),
        "correlation": curve[-1].correlation if np.isfinite(curve[-1].correlation) else None,
    }
    return Proposer(generator, head, mean, deviation, about), curve


def _normalisation(networks: Sequence[Network], settings: Learning) -> tuple[Array, Array]:
    """Returns mean and deviation of each feature; a feature that is not to be seen is divided by infinity."""
    everything = np.concatenate([network.described.features for network in networks])
    mean, deviation = everything.mean(axis=0), everything.std(axis=0)
    deviation = np.where(deviation < 1e-3, 1.0, deviation)
    if settings.features == "position":
        deviation[:POSITION] = 1e9
    return mean.astype(np.float32), deviation.astype(np.float32)


def _table(networks: Sequence[Network], settings: Learning, mean: Array, deviation: Array) -> Table:
    most = max(len(n.described.features) for n in networks)
    layers = max(len(n.described.widths) for n in networks)
    features = np.zeros((len(networks), most, len(FEATURES)), np.float32)
    member = np.zeros((len(networks), layers, most), np.float32)
    rows = []
    for at, network in enumerate(networks):
        count = len(network.described.features)
        features[at, :count] = (network.described.features - mean) / deviation
        member[at, network.described.layer_of, np.arange(count)] = 1
        for trial, good in zip(network.trials, good_ones(network, settings.good), strict=True):
            mask = np.zeros(most, np.float32)
            mask[:count] = trial.mask
            part = np.clip(trial.accuracy / max(network.dense, 1e-6), 0, 1)
            rows.append((mask, at, trial.sparsity, trial.mask.sum(), part, good))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    kinds = (np.float32, np.int32, np.float32, np.float32, np.float32, np.bool_)
    return Table(features, member, *(c.astype(kind) for c, kind in zip(columns, kinds, strict=True)))


def good_ones(network: Network, part: float) -> list[bool]:
    """Returns which masks are among the best of their sparsity, and are not stuck."""
    good = []
    for trial in network.trials:
        others = sorted((t.accuracy for t in network.trials if t.sparsity == trial.sparsity), reverse=True)
        least = others[max(round(part * len(others)), 1) - 1]
        good.append(trial.accuracy >= least and not network.is_stuck(trial.accuracy))
    return good


class _Gan:
    """Both networks, their optimizers and the graphs of a part of the training."""

    def __init__(self, table: Table, settings: Learning, rng: np.random.Generator) -> None:
        tf = keras.tf
        self._table, self._settings = table, settings
        with keras.LOCK:
            self._g = {name: tf.Variable(_drawn(shape, rng)) for name, shape in shapes().items()}
            self._d = {name: tf.Variable(_drawn(shape, rng)) for name, shape in head_shapes().items()}
            self._variables = list(self._g.values()), list(self._d.values())
            self._optimizers = [
                make_optimizer("adam", variables, learning_rate=settings.learning_rate, beta_1=0.5)
                for variables in self._variables
            ]
            self._data = [tf.constant(a) for a in (table.features, table.member, table.mask)]
            self._data += [tf.constant(a) for a in (table.network, table.sparsity, table.kept, table.part)]
            self._good = tf.constant(table.good.astype(np.float32))
            rows = tf.TensorSpec([None, settings.batch], tf.int32)
            self._graph = tf.function(
                self._steps, input_signature=[rows, rows, tf.TensorSpec([2], tf.int32)], autograph=False
            ).get_concrete_function()

    @property
    def weights(self) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """Those of the generator and of the discriminator with its head, by name."""
        generator, head = ({n: variable.numpy() for n, variable in part.items()} for part in (self._g, self._d))
        return generator, head

    def train(self, steps: int, rng: np.random.Generator) -> tuple[float, float, float]:
        """Goes on for so many steps, and returns the mean losses of discriminator, accuracy head and generator.

        Raises:
            FloatingPointError: Training diverged.
        """
        batch, good = self._settings.batch, np.flatnonzero(self._table.good)
        every = rng.integers(len(self._table.mask), size=(steps, batch)).astype(np.int32)
        real = good[rng.integers(len(good), size=(steps, batch))].astype(np.int32)
        seed = rng.integers(0, 2**31, 2).astype(np.int32)
        losses = self._graph(*map(keras.tf.constant, (every, real, seed))).numpy() / steps
        if not np.isfinite(losses).all():
            raise FloatingPointError("training of the proposer diverged; try a smaller proposer.learning_rate")
        return float(losses[0]), float(losses[1]), float(losses[2])

    def judged(self, table: Table, rng: np.random.Generator) -> tuple[float, float]:
        """Returns, of held-out networks, how the head's accuracies correlate with measured ones, and those of draws."""
        tf = keras.tf
        features, member = (tf.constant(a[table.network]) for a in (table.features, table.member))
        sparsity, kept = tf.constant(table.sparsity), tf.constant(table.kept)
        foretold = tf.sigmoid(discriminate(self._d, features, member, sparsity, tf.constant(table.mask))[1]).numpy()
        z, chance = noise(rng.integers(0, 2**31, 2).astype(np.int32), tf.shape(member))
        mask, _ = generate(self._g, features, member, sparsity, kept, z, chance)
        drawn = tf.sigmoid(discriminate(self._d, features, member, sparsity, mask)[1]).numpy()
        varied = min(np.std(foretold), np.std(table.part)) > 0
        return float(np.corrcoef(foretold, table.part)[0, 1]) if varied else float("nan"), float(drawn.mean())

    def _steps(self, every: Any, real: Any, seed: Any) -> Any:
        tf = keras.tf

        def step(index: Any, totals: Any) -> Any:
            losses = self._step(every[index], real[index], tf.stack([seed[0] + index, seed[1]]))
            return index + 1, totals + tf.stack(losses)

        count = tf.shape(every)[0]
        _, totals = tf.while_loop(
            lambda index, _: index < count, keras.apart(step), (tf.constant(0), tf.zeros([3])), parallel_iterations=1
        )
        return totals

    def _step(self, every: Any, real: Any, seed: Any) -> tuple[Any, Any, Any]:
        """Updates the discriminator and its head on real masks, other masks and draws; then the generator."""
        tf, settings = keras.tf, self._settings
        features, member, masks, network, sparsity, kept, _ = self._data

        def of(rows: Any, offset: int) -> tuple[Any, Any, Any]:
            found = tf.gather(features, tf.gather(network, rows))
            found += settings.blur * tf.random.stateless_normal(tf.shape(found), seed + offset)
            return found, tf.gather(member, tf.gather(network, rows)), rows

        x, layers, _ = of(real, 3)
        asked, number = tf.gather(sparsity, real), tf.gather(kept, real)
        z, chance = noise(seed, tf.shape(layers))
        other_z, other_chance = noise(seed + 7919, tf.shape(layers))
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(self._variables[0])
            mask, logits = generate(self._g, x, layers, asked, number, z, chance)
            _, other = generate(self._g, x, layers, asked, number, other_z, other_chance)
            with outer.stop_recording():
                verdict, head = self._update_discriminator(
                    (x, layers, asked, tf.gather(masks, real)), tf.stop_gradient(mask), of(every, 4)
                )
            good, part_of = discriminate(self._d, x, layers, asked, mask)
            distance = tf.reduce_sum(tf.abs(tf.sigmoid(logits) - tf.sigmoid(other)), axis=1) / number
            # Of two draws' noise the one that is nearer to a good mask learns to give it, so that others stay free.
            surprise = [_surprise(tf.gather(masks, real), found) / number for found in (logits, other)]
            apart = tf.reduce_mean(tf.abs(z - other_z), axis=[1, 2])
            loss = settings.adversarial * tf.reduce_mean(tf.nn.softplus(-good))
            loss += settings.accuracy * tf.reduce_mean(tf.nn.softplus(-part_of))
            loss += settings.likelihood * tf.reduce_mean(tf.minimum(*surprise))
            loss += settings.diversity * tf.reduce_mean(apart / (distance + 0.1))
        gradients = outer.gradient(loss, self._variables[0])
        self._apply(0, gradients)
        return verdict, head, loss

    def _update_discriminator(
        self, real: tuple[Any, Any, Any, Any], fake: Any, every: tuple[Any, Any, Any]
    ) -> tuple[Any, Any]:
        tf = keras.tf
        _, _, masks, _, sparsity, _, part = self._data
        x, layers, rows = every
        x_real, layers_real, asked, good = real
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables[1])
            of_real, _ = discriminate(self._d, x_real, layers_real, asked, good)
            of_fake, _ = discriminate(self._d, x_real, layers_real, asked, fake)
            of_every, foretold = discriminate(self._d, x, layers, tf.gather(sparsity, rows), tf.gather(masks, rows))
            # Masks of the archive that are not good are no less fake than draws.
            is_good = tf.gather(self._good, rows)
            verdict = tf.reduce_mean(tf.nn.softplus(-of_real)) + tf.reduce_mean(tf.nn.softplus(of_fake)) / 2
            verdict += tf.reduce_sum((1 - is_good) * tf.nn.softplus(of_every)) / (2 * tf.reduce_sum(1 - is_good) + 1e-3)
            head = tf.reduce_mean(
                tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.gather(part, rows), logits=foretold)
            )
            loss = verdict + 2.0 * head
        self._apply(1, tape.gradient(loss, self._variables[1]))
        return verdict, head

    def _apply(self, which: int, gradients: Sequence[Any]) -> None:
        pairs = zip(gradients, self._variables[which], strict=True)
        self._optimizers[which].apply_gradients(pairs, experimental_aggregate_gradients=False)


def _drawn(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns initial weights: biases of zeros, kernels by He et al. 2015."""
    if len(shape) == 1:
        return np.zeros(shape, np.float32)
    return np.asarray(rng.standard_normal(shape) * np.sqrt(2.0 / shape[0]), np.float32)


def _surprise(mask: Any, logits: Any) -> Any:
    """Returns minus the logarithm of the probability of masks, (batch,)."""
    return keras.tf.reduce_sum(keras.tf.nn.sigmoid_cross_entropy_with_logits(labels=mask, logits=logits), axis=1)

"""The GAN that learns from an archive to propose masks: one compiled graph, networks of any shape side by side.

The generator is that of `fedcompress.masks.proposer`, here with gradients: a draw is a hard mask going forward and
sigmoid((logit + noise) / temperature) going back (straight-through). The discriminator is a set encoder on features and
mask with two outputs: whether a mask is one of the archive's good ones, and what part of the dense network's accuracy
it comes to when it is retrained, whose gradient trains the generator as well. Two draws of a network are to differ by
the more the more their noise does: the mode-seeking term of Mao et al. 2019, eq. 3.
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
from fedcompress.masks.proposer import HIDDEN, NOISE, Proposer, shapes
from fedcompress.recipes.masks.settings import Learning
from fedcompress.recipes.masks.trials import Network
from fedcompress.training.loop import make_optimizer

PARTS = 20
"""Of a training: after each, the held-out networks are looked at."""
TEMPERATURE = 0.5
BISECTIONS = 30
_FAR = 1e4
"""Larger than any logit."""

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
    if len(networks) < 2:
        raise InputError(
            f"an archive of {len(networks)} network{'s' if len(networks) != 1 else ''} cannot train a proposer: at "
            "least one is held out; collect more seeds or models."
        )
    order = rng.permutation(len(networks))
    held = [networks[i] for i in order[: max(round(settings.held_out * len(networks)), 1)]]
    learned = [network for network in networks if network not in held]
    mean, deviation = _normalisation(learned, settings)
    table, unseen = (_table(part, settings, mean, deviation) for part in (learned, held))
    if not table.good.any() or table.good.all():
        raise InputError("the archive has no masks to tell apart: expected several for each network and sparsity.")
    gan = _Gan(table, settings, rng)
    curve = []
    for part in np.array_split(np.arange(settings.steps), min(PARTS, settings.steps)):
        losses = gan.train(len(part), rng)
        correlation, foretold = gan.judged(unseen, rng)
        curve.append(Point(int(part[-1]) + 1, *losses, correlation, foretold))
        progress(curve[-1])
    about = {
        "learned": [list(network.source) for network in learned],
        "held_out": [list(network.source) for network in held],
        "masks": len(table.mask),
        "settings": settings.model_dump(mode="json"),
        "correlation": curve[-1].correlation if np.isfinite(curve[-1].correlation) else None,
    }
    return Proposer(gan.generator, mean, deviation, about), curve


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
        for trial, good in zip(network.trials, _good(network, settings.good), strict=True):
            mask = np.zeros(most, np.float32)
            mask[:count] = trial.mask
            part = np.clip(trial.accuracy / max(network.dense, 1e-6), 0, 1)
            rows.append((mask, at, trial.sparsity, trial.mask.sum(), part, good))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    kinds = (np.float32, np.int32, np.float32, np.float32, np.float32, np.bool_)
    return Table(features, member, *(c.astype(kind) for c, kind in zip(columns, kinds, strict=True)))


def _good(network: Network, part: float) -> list[bool]:
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
            self._d = {name: tf.Variable(_drawn(shape, rng)) for name, shape in _discriminator_shapes().items()}
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
    def generator(self) -> Mapping[str, Array]:
        """Its weights, by name."""
        return {name: variable.numpy() for name, variable in self._g.items()}

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
        foretold = tf.sigmoid(self._discriminate(features, member, sparsity, tf.constant(table.mask))[1]).numpy()
        z, chance = _noise(rng.integers(0, 2**31, 2).astype(np.int32), tf.shape(member))
        mask, _ = self._generate(features, member, sparsity, kept, z, chance)
        drawn = tf.sigmoid(self._discriminate(features, member, sparsity, mask)[1]).numpy()
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

        def of(rows: Any) -> tuple[Any, Any, Any]:
            return tf.gather(features, tf.gather(network, rows)), tf.gather(member, tf.gather(network, rows)), rows

        x, layers, _ = of(real)
        asked, number = tf.gather(sparsity, real), tf.gather(kept, real)
        z, chance = _noise(seed, tf.shape(layers))
        other_z, other_chance = _noise(seed + 7919, tf.shape(layers))
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(self._variables[0])
            mask, keep = self._generate(x, layers, asked, number, z, chance)
            _, other_keep = self._generate(x, layers, asked, number, other_z, other_chance)
            with outer.stop_recording():
                verdict, head = self._update_discriminator(
                    (x, layers, asked, tf.gather(masks, real)), tf.stop_gradient(mask), of(every)
                )
            good, part_of = self._discriminate(x, layers, asked, mask)
            distance = tf.reduce_sum(tf.abs(keep - other_keep), axis=1) / number
            apart = tf.reduce_mean(tf.abs(z - other_z), axis=[1, 2])
            loss = settings.adversarial * tf.reduce_mean(tf.nn.softplus(-good))
            loss += settings.accuracy * tf.reduce_mean(tf.nn.softplus(-part_of))
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
            of_real, _ = self._discriminate(x_real, layers_real, asked, good)
            of_fake, _ = self._discriminate(x_real, layers_real, asked, fake)
            of_every, foretold = self._discriminate(x, layers, tf.gather(sparsity, rows), tf.gather(masks, rows))
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

    def _generate(self, x: Any, member: Any, sparsity: Any, kept: Any, z: Any, chance: Any) -> tuple[Any, Any]:
        """Returns draws and keep probabilities, (batch, channels) each.

        Args:
            x: Features, (batch, channels, features).
            member: (batch, layers, channels).
            sparsity: Asked for, (batch,).
            kept: Channels to keep, (batch,).
            z: Noise, (batch, layers, NOISE).
            chance: Logistic noise, (batch, channels).
        """
        tf, w = keras.tf, self._g
        there = tf.reduce_sum(member, axis=1)
        seen = tf.concat([x, tf.broadcast_to(sparsity[:, None, None], [*tf.unstack(tf.shape(x)[:2]), 1])], axis=2)
        own = tf.nn.relu(seen @ w["channel"] + w["channel bias"])
        layers, real = _means(own, member)
        network = tf.reduce_sum(layers * real, axis=1, keepdims=True) / tf.reduce_sum(real, axis=1, keepdims=True)
        beside = layers @ w["layer"] + network @ w["network"] + z @ w["noise"] + w["second bias"]
        own = tf.nn.relu(own @ w["own"] + _of_channels(beside, member))
        logits = (own @ w["logit"] + _of_channels(_means(own, member)[0] @ w["logit of the layer"], member))[..., 0]
        logits = _budgeted(tf.where(there > 0, logits, -_FAR), kept)
        keep = tf.sigmoid(logits)
        drawn = tf.where(there > 0, logits + chance, -_FAR)
        hard = _hard(drawn, member, kept)
        soft = tf.sigmoid(drawn / TEMPERATURE)
        return soft + tf.stop_gradient(hard - soft), keep

    def _discriminate(self, x: Any, member: Any, sparsity: Any, mask: Any) -> tuple[Any, Any]:
        """Returns logits, (batch,) each: of being good, and of the part of the dense accuracy."""
        tf, w = keras.tf, self._d
        seen = tf.concat([x, tf.broadcast_to(sparsity[:, None, None], [*tf.unstack(tf.shape(x)[:2]), 1])], axis=2)
        own = tf.nn.relu(seen @ w["channel"] + w["channel bias"])
        kept = own * mask[..., None]
        count = tf.linalg.matvec(member, mask)[..., None]
        means, real = _means(own, member)
        survivors = (member @ kept) / (count + 0.1)
        size = tf.reduce_sum(member, axis=2, keepdims=True)
        numbers = tf.concat([tf.math.log1p(count), count / (size + 1e-3), tf.exp(-count)], axis=2)
        of_layer = tf.concat([means, survivors, means - survivors, numbers], axis=2)
        layers = tf.nn.relu(of_layer @ w["layer"] + w["layer bias"])
        mean = tf.reduce_sum(layers * real, axis=1) / tf.reduce_sum(real, axis=1)
        most = tf.reduce_max(layers * real, axis=1)
        whole = tf.nn.relu(tf.concat([mean, most], axis=1) @ w["network"] + w["network bias"])
        return (whole @ w["good"])[:, 0], (whole @ w["part"])[:, 0]


def _discriminator_shapes() -> dict[str, tuple[int, ...]]:
    return {
        "channel": (len(FEATURES) + 1, HIDDEN),
        "channel bias": (HIDDEN,),
        "layer": (3 * HIDDEN + 3, HIDDEN),
        "layer bias": (HIDDEN,),
        "network": (2 * HIDDEN, HIDDEN),
        "network bias": (HIDDEN,),
        "good": (HIDDEN, 1),
        "part": (HIDDEN, 1),
    }


def _drawn(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns initial weights: biases of zeros, kernels by He et al. 2015."""
    if len(shape) == 1:
        return np.zeros(shape, np.float32)
    return np.asarray(rng.standard_normal(shape) * np.sqrt(2.0 / shape[0]), np.float32)


def _noise(seed: Any, shape: Any) -> tuple[Any, Any]:
    """Returns noise of layers, half of it the same for all of them, and logistic noise of channels."""
    tf = keras.tf
    batch, layers, count = shape[0], shape[1], shape[2]
    shared = tf.random.stateless_normal([batch, 1, NOISE // 2], seed)
    own = tf.random.stateless_normal([batch, layers, NOISE // 2], seed + 1)
    uniform = tf.random.stateless_uniform([batch, count], seed + 2, 1e-6, 1 - 1e-6)
    z = tf.concat([tf.broadcast_to(shared, [batch, layers, NOISE // 2]), own], axis=2)
    return z, tf.math.log(uniform) - tf.math.log1p(-uniform)


def _means(values: Any, member: Any) -> tuple[Any, Any]:
    """Returns means over each layer's channels, (batch, layers, n), and which layers there are, (batch, layers, 1)."""
    tf = keras.tf
    size = tf.reduce_sum(member, axis=2, keepdims=True)
    return (member @ values) / tf.maximum(size, 1.0), tf.cast(size > 0, tf.float32)


def _of_channels(layers: Any, member: Any) -> Any:
    """Returns for each channel what its layer has, (batch, channels, n)."""
    return keras.tf.matmul(member, layers, transpose_a=True)


def _budgeted(logits: Any, kept: Any) -> Any:
    """Returns logits shifted so that their probabilities sum up to what is kept, (batch,).

    The shift is found without gradients; one step of Newton's method from there gives it the implicit function's.
    """
    tf = keras.tf
    there = logits > -_FAR / 2
    low = -40.0 - tf.reduce_max(logits, axis=1)
    high = 40.0 - tf.reduce_min(tf.where(there, logits, _FAR), axis=1)
    fixed = tf.stop_gradient(logits)
    low, high = tf.stop_gradient(low), tf.stop_gradient(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        few = tf.reduce_sum(tf.sigmoid(fixed + middle[:, None]), axis=1) < kept
        low, high = tf.where(few, middle, low), tf.where(few, high, middle)
    shift = (low + high) / 2
    probabilities = tf.sigmoid(logits + shift[:, None])
    slope = tf.stop_gradient(tf.reduce_sum(probabilities * (1 - probabilities), axis=1) + 1e-3)
    shift -= (tf.reduce_sum(probabilities, axis=1) - tf.stop_gradient(tf.reduce_sum(probabilities, axis=1))) / slope
    return logits + tf.where(there, shift[:, None], 0.0)


def _hard(drawn: Any, member: Any, kept: Any) -> Any:
    """Returns masks of the largest values, as many as are kept, with the best channel of each layer among them."""
    tf = keras.tf
    best = tf.reduce_max(tf.where(member > 0, drawn[:, None, :], -2 * _FAR), axis=2, keepdims=True)
    first = tf.reduce_any((drawn[:, None, :] >= best) & (member > 0), axis=1)
    ranked = drawn + tf.where(first, 2 * _FAR, 0.0)
    descending = tf.sort(ranked, axis=1, direction="DESCENDING")
    least = tf.gather(descending, tf.cast(kept, tf.int32)[:, None] - 1, batch_dims=1)
    return tf.cast(ranked >= least, tf.float32)

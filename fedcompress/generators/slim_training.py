"""Training a slim generator from a teacher: GAN Slimming (Wang et al. 2020, eq. 4 and algorithm 1).

    min_G max_D  L_GAN(G, D) + beta d(G(z, y), T(z, y)) + rho ||gamma||_1,

d the mean distance of pixels in [0, 1]. As in the paper's code, the discriminator tells the student's images from the
teacher's, so the student sees no data; weights follow Adam, gammas SGD with momentum 0.5 and, after each step, the
proximal step gamma <- sign(gamma) relu(|gamma| - rho rate); all rates fall along half a cosine, epoch by epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.generators.slim import GAMMAS, SLIM, SlimSpec
from fedcompress.generators.spec import Gan, GanSpec
from fedcompress.generators.training import GanLoop, GanState, TrainedGan, check_losses
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays

MOMENTUM = 0.5
"""Of the gammas."""
Distance = Literal["l1", "l2"]


@dataclass(frozen=True)
class Slimming:
    """How a generator is slimmed.

    Attributes:
        rho: Weight of the gammas' sizes.
        beta: Weight of the distance to the teacher's images.
        distance: Mean absolute ("l1") or squared ("l2") difference.
        gamma_rate: Learning rate of the gammas in the first epoch.
        generator_rate: That of the other weights.
        discriminator_rate: That of the discriminator.
    """

    rho: float = 0.01
    beta: float = 20.0
    distance: Distance = "l1"
    gamma_rate: float = 0.1
    generator_rate: float = 2e-4
    discriminator_rate: float = 3e-4


class ProximalLoop(GanLoop):
    """A training of a generator with gammas, which SGD and proximal steps move.

    Args:
        spec: A generator's that has gammas.
        gammas: Where they are among its weights.
        guide: As for `GanLoop`.
    """

    def __init__(self, spec: GanSpec, gammas: Sequence[int], guide: ModelSpec | None = None) -> None:
        super().__init__(spec, guide)
        self._gammas = tuple(gammas)
        with keras.LOCK:
            scales = [self._generator[index] for index in self._gammas]
            self._velocities = [keras.tf.Variable(keras.tf.zeros_like(gamma), trainable=False) for gamma in scales]
        self._variables += self._velocities

    def _pull(self, factors: Any) -> tuple[Any, Any]:
        """Returns rho and the gammas' learning rate."""
        raise NotImplementedError

    def _begin(self, generator: Any, discriminator: Any, continued: Any) -> None:
        super()._begin(generator, discriminator, continued)
        for velocity in self._velocities:
            velocity.assign(keras.tf.where(continued, velocity, keras.tf.zeros_like(velocity)))

    def _move_generator(self, gradients: list[Any], factors: Any) -> None:
        tf, (rho, rate) = keras.tf, self._pull(factors)
        for velocity, index in zip(self._velocities, self._gammas, strict=True):
            gamma = self._generator[index]
            velocity.assign(MOMENTUM * velocity + gradients[index])
            moved = gamma - rate * velocity
            gamma.assign(tf.sign(moved) * tf.nn.relu(tf.abs(moved) - rho * rate))
        others = [index for index in range(len(gradients)) if index not in self._gammas]
        self._apply(0, [self._generator[i] for i in others], [gradients[i] for i in others])


class SlimLoop(ProximalLoop):
    """The graph of an epoch. Factors that change from call to call: rho, beta and the three learning rates.

    Args:
        spec: A slim generator's.
        distance: To the teacher's images.
    """

    def __init__(self, spec: SlimSpec, distance: Distance) -> None:
        super().__init__(spec, gammas_of(spec))
        self._distance = distance

    def epoch(
        self, state: GanState, pairs: Examples, z: NDArray[np.float32], factors: list[float], **how: Any
    ) -> tuple[TrainedGan, GanState]:
        """Trains for an epoch on the teacher's images of z."""
        return self._gone_on(state, pairs, factors, z, **how)

    def _pull(self, factors: Any) -> tuple[Any, Any]:
        return factors[0], factors[2]

    def _noise(self, z: Any, rows: Any, seed: Any, index: Any) -> Any:
        return keras.tf.gather(z, rows)

    def _step(self, real: Any, labels: Any, z: Any, factors: Any) -> tuple[Any, Any]:
        for optimizer, rate in zip(self._optimizers, (factors[3], factors[4]), strict=True):
            optimizer.learning_rate.assign(rate)
        return super()._step(real, labels, z, factors)

    def _beside(self, fake: Any, real: Any, labels: Any, z: Any, factors: Any) -> Any:
        return factors[1] * distance(fake, real, self._distance)


def distance(images: Any, others: Any, kind: Distance) -> Any:
    """Returns the mean distance of pixels of images (batch, ...)."""
    tf = keras.tf
    return tf.reduce_mean(tf.abs(images - others) if kind == "l1" else tf.square(images - others))


def gammas_of(spec: SlimSpec) -> tuple[int, ...]:
    """Returns where gammas are among a generator's weights; of one that has been slimmed there are none."""
    return GAMMAS if spec.name == SLIM else ()


def begun(spec: SlimSpec, gan: Gan, distance: Distance) -> GanState:
    """Returns where the training of a student stands that begins with these weights."""
    return _loop(spec, distance).initial(gan)


def slim_epoch(
    spec: SlimSpec,
    state: GanState,
    pairs: Examples,
    z: NDArray[np.float32],
    settings: Slimming,
    *,
    done: float,
    batch_size: int,
    rng: np.random.Generator,
) -> tuple[TrainedGan, GanState]:
    """Slims a generator for an epoch; its weights are averaged over steps, but for channels that are off at the end.

    One that has been slimmed ("small") has no gammas any more: it is fine-tuned by the rest of the loss.

    Args:
        spec: Of the generator.
        state: Where the training stands: `begun`, or what the epoch before returned.
        pairs: The teacher's images (n, *input_shape) and the labels (n,) that it was asked for.
        z: Its noise (n, noise).
        settings: How.
        done: Part of all epochs that is over, from 0 to less than 1.
        batch_size: Pairs in a step.
        rng: Shuffles the pairs.

    Raises:
        FloatingPointError: Training diverged.
    """
    fall = (1.0 + cos(pi * done)) / 2.0
    rates = (settings.gamma_rate, settings.generator_rate, settings.discriminator_rate)
    factors = [settings.rho, settings.beta, *(rate * fall for rate in rates)]
    trained, after = _loop(spec, settings.distance).epoch(state, pairs, z, factors, batch_size=batch_size, rng=rng)
    check_losses(trained)
    gan = Gan(turned_off(trained.gan.generator, after.arrays, gammas_of(spec)), trained.gan.discriminator)
    return TrainedGan(gan, trained.generator_loss, trained.discriminator_loss, trained.steps), after


def turned_off(average: Arrays, last: Arrays, gammas: Sequence[int]) -> Arrays:
    """Returns averaged weights without the channels that the last step has turned off."""
    return [
        np.where(last[i] == 0.0, 0.0, array).astype(np.float32) if i in gammas else array
        for i, array in enumerate(average)
    ]


def _loop(spec: SlimSpec, distance: Distance) -> SlimLoop:
    loop: SlimLoop = keras.compiled(("slim gan", spec, distance), lambda: SlimLoop(spec, distance))
    return loop

"""A client's part of slimming a generator that a federation trains: GAN Slimming on its own data.

    min_G max_D  L_GAN(G, D) + beta d(G(z, y), T(z, y)) + rho ||gamma||_1

(Wang et al. 2020, eq. 4; see `slim_training`) with T the generator that the client received, for the same noise. Unlike
the paper's student, this one is the GAN itself that is trained: its discriminator sees real images, and T moves on from
round to round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.generators.sampling import training_cost
from fedcompress.generators.slim_compact import GAMMAS, SCALED, SlimCompactSpec, plain_of, scaled
from fedcompress.generators.slim_training import ProximalLoop, distance, turned_off
from fedcompress.generators.spec import Gan
from fedcompress.generators.training import TrainedGan, check_losses
from fedcompress.models.architecture import ModelSpec
from fedcompress.training import work
from fedcompress.wire.content import Arrays


@dataclass(frozen=True)
class Pull:
    """What pulls on a generator while it is trained.

    Attributes:
        rho: Weight of the gammas' sizes.
        beta: Weight of the mean absolute distance to the images of the generator that it started from.
        rate: Learning rate of the gammas.
    """

    rho: float
    beta: float
    rate: float


class LocalSlimLoop(ProximalLoop):
    """The graph of a client's training. Factors: weight of the guide, rho, beta, the gammas' learning rate.

    Args:
        spec: Of the form that is trained.
        guide: As for `GanLoop`.
    """

    def __init__(self, spec: SlimCompactSpec, guide: ModelSpec | None) -> None:
        super().__init__(spec, GAMMAS, guide)
        with keras.LOCK:
            self._teacher = [keras.tf.Variable(a, trainable=False) for a in spec.generator_template]

    def train(
        self, gan: Gan, examples: Examples, guide: Arrays, factors: Sequence[float], **how: Any
    ) -> tuple[TrainedGan, Arrays]:
        """Trains from `gan`; returns what that leaves, and the generator's weights of the last step."""
        trained = self._run(gan, examples, guide, factors, before=0, **how)
        return trained, [variable.numpy() for variable in self._generator]

    def _pull(self, factors: Any) -> tuple[Any, Any]:
        return factors[1], factors[3]

    def _begin(self, generator: Any, discriminator: Any, continued: Any) -> None:
        super()._begin(generator, discriminator, continued)
        for teacher, variable in zip(self._teacher, self._generator, strict=True):
            teacher.assign(variable)

    def _beside(self, fake: Any, real: Any, labels: Any, z: Any, factors: Any) -> Any:
        of_teacher = self._networks.generate(self._teacher, z, labels)
        return super()._beside(fake, real, labels, z, factors) + factors[2] * distance(fake, of_teacher, "l1")


def train_slim(
    spec: SlimCompactSpec,
    gan: Gan,
    examples: Examples,
    pull: Pull,
    *,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    guide: tuple[ModelSpec, Arrays] | None = None,
    guide_weight: float = 0.0,
) -> TrainedGan:
    """Trains a slim GAN on a client's examples, as `training.train` does a plain one, and slims its generator.

    Args:
        spec: Of the plain form.
        gan: Start; its generator in the plain form.
        examples: At least one; images of `spec.input_shape`, uint8, or float32 in [0, 1].
        pull: What turns channels off.
        epochs: Passes over the examples.
        batch_size: Examples in a step.
        rng: Shuffles the examples and seeds the noise.
        guide: As for `training.train`.
        guide_weight: Likewise.

    Returns:
        The generator in the plain form, rounded, its channels that are off zero throughout.

    Raises:
        FloatingPointError: Training diverged.
    """
    model, weights = guide or (None, [])
    trainee = replace(spec, name=SCALED)
    key = ("train slim gan", trainee, model and model.key, examples.x.dtype.str)
    work.add(("gan", trainee), epochs * len(examples), lambda: training_cost(trainee))
    loop: LocalSlimLoop = keras.compiled(key, lambda: LocalSlimLoop(trainee, model))
    start = Gan(scaled(spec, gan.generator), gan.discriminator)
    factors = [guide_weight, pull.rho, pull.beta, pull.rate]
    trained, last = loop.train(start, examples, weights, factors, epochs=epochs, batch_size=batch_size, rng=rng)
    check_losses(trained)
    generator = plain_of(trainee, turned_off(trained.gan.generator, last, GAMMAS))
    return replace(trained, gan=Gan(generator, trained.gan.discriminator))

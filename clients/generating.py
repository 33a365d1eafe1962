"""generating: a client that trains as `sgd` does, and on its own data a conditional GAN, from which others draw."""

from __future__ import annotations

import numpy as np

from clients.sgd import SGD
from fedcompress.client import Result, action
from fedcompress.distillation.embedded import AGAIN, EMBEDDING
from fedcompress.distillation.privately import PACE, ROUNDS
from fedcompress.distillation.source import DISCRIMINATOR, GENERATOR, PublicSource
from fedcompress.errors import RunError
from fedcompress.generators.dp_sgd import Pace
from fedcompress.generators.private_training import PrivateGan
from fedcompress.generators.spec import Gan
from fedcompress.generators.training import TrainedGan, train
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays, Payload


class Generating(SGD):
    """Trains on its own data, and a generator by which others learn of them."""

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains as `sgd` does, and remembers the result, which guides its generator."""
        result = super().train(payload, round_number)
        self.state["weights"] = list(result.payload["weights"])
        return result

    @action
    def train_generator(self, payload: Payload, round_number: int) -> Result:
        """Trains the generator that it receives on its own examples; a discriminator that is not sent stays here."""
        public = self.public
        assert public is not None
        assert public.gan is not None
        untrained = public.gan.initial(self.rng("initial.gan"))
        discriminator = payload.get(DISCRIMINATOR) or self.state.get(DISCRIMINATOR) or untrained.discriminator
        trained = self._trained_gan(Gan(list(payload[GENERATOR]), list(discriminator)), public, round_number)
        metrics = {"generator_loss": trained.generator_loss, "discriminator_loss": trained.discriminator_loss}
        sent = public.crossing(trained.gan.generator)
        if public.settings.share_discriminator:
            sent[DISCRIMINATOR] = trained.gan.discriminator
        else:
            self.state[DISCRIMINATOR] = trained.gan.discriminator
        return Result(sent, metrics)

    @action
    def embed(self, payload: Payload, round_number: int) -> Result:
        """Releases the mean embedding of its examples: once, with one noise, whoever asks again."""
        assert self.public is not None
        assert self.public.embedded is not None
        if EMBEDDING not in self.state:
            if AGAIN in payload and not self.public.embedded.repeats:
                raise RunError(
                    "it was asked for its mean embedding before and holds none; other noise could cost it more"
                )
            self.state[EMBEDDING] = self.public.embedded.release(self.data, self.rng("noise"))
        return Result({EMBEDDING: list(self.state[EMBEDDING])})

    def _trained_gan(self, gan: Gan, public: PublicSource, round_number: int) -> TrainedGan | PrivateGan:
        """Returns the GAN after a training on its own examples; a private one keeps to its budget, whoever asks."""
        assert public.gan is not None
        settings, private = public.settings, public.private
        if private is not None:
            rounds = int(self.state[ROUNDS][0][0]) if ROUNDS in self.state else 0
            pace = Pace(*self.state[PACE][0]) if PACE in self.state else None
            trained = private.train(public.gan, gan, self.data, rounds, self.rng("gan"), self.rng("noise"), pace)
            self.state |= {ROUNDS: [np.array([rounds + 1])], PACE: [np.array(trained.pace, np.float32)]}
            return trained
        guide = self._classifier() if settings.guide else None
        if public.slim is not None:
            return public.slim.train(gan, self.data, round_number, self.rng("gan"), guide)
        return train(
            public.gan,
            gan,
            self.data,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            rng=self.rng("gan"),
            guide=guide,
            guide_weight=settings.guide,
        )

    def _classifier(self) -> tuple[ModelSpec, Arrays] | None:
        """What guides its generator, if it has been trained."""
        return (self.model, list(self.state["weights"])) if "weights" in self.state else None

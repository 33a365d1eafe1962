"""generating: a client that trains as `sgd` does, and on its own data a conditional GAN, from which others draw."""

from __future__ import annotations

from clients.sgd import SGD
from fedcompress.client import Result, action
from fedcompress.distillation.embedded import EMBEDDING
from fedcompress.distillation.source import DISCRIMINATOR, GENERATOR
from fedcompress.generators.spec import Gan
from fedcompress.generators.training import train
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
        settings = public.settings
        untrained = public.gan.initial(self.rng("initial.gan"))
        discriminator = payload.get(DISCRIMINATOR) or self.state.get(DISCRIMINATOR) or untrained.discriminator
        trained = train(
            public.gan,
            Gan(list(payload[GENERATOR]), list(discriminator)),
            self.data,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            rng=self.rng("gan"),
            guide=self._classifier() if settings.guide else None,
            guide_weight=settings.guide,
        )
        metrics = {"generator_loss": trained.generator_loss, "discriminator_loss": trained.discriminator_loss}
        sent = {GENERATOR: trained.gan.generator}
        if settings.share_discriminator:
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
            self.state[EMBEDDING] = self.public.embedded.release(self.data, self.rng("noise"))
        return Result({EMBEDDING: list(self.state[EMBEDDING])})

    def _classifier(self) -> tuple[ModelSpec, Arrays] | None:
        """What guides its generator, if it has been trained."""
        return (self.model, list(self.state["weights"])) if "weights" in self.state else None

"""Public data from a GAN that clients train by DP-SGD: what a round of it costs a client, and when the client stops.

Discriminators see examples, so theirs are the releases; generators, and averages of both, are made of nothing else.
Every client takes its examples with the same probability, so that what a round costs does not depend on their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fedcompress.data.federated import Examples
from fedcompress.errors import RunError
from fedcompress.generators.private_training import WHAT, DpSgd, PrivateGan, train_privately
from fedcompress.generators.spec import Gan, GanSpec
from fedcompress.privacy.accounting import Release, epsilon_of, noise_for
from fedcompress.privacy.accounts import TOLERANCE
from fedcompress.privacy.noise import source_of
from fedcompress.scenario.public import PrivacySettings, PublicSettings

if TYPE_CHECKING:
    from fedcompress.groups import ClientInfo
    from fedcompress.strategy import Federation

ROUNDS = "private rounds"
"""Of a client's state: in how many rounds it has trained, (1,); so it keeps to its budget whatever it is asked."""


@dataclass(frozen=True, eq=False)
class PrivateTraining:
    """How clients train a GAN privately; the same on server and clients.

    Attributes:
        public: `[public]`, with its table `dp_sgd`.
        privacy: `[privacy]`.
        rounds: In which the GAN is trained.
    """

    public: PublicSettings
    privacy: PrivacySettings
    rounds: int

    @cached_property
    def event(self) -> Release:
        """What a round costs a client; by default, all rounds together cost its whole budget."""
        settings = self.public.dp_sgd
        steps = settings.steps(self.public.epochs)
        noise = settings.noise or noise_for(
            self.privacy.epsilon, self.privacy.delta, sampling=settings.sampling, steps=steps * self.rounds
        )
        return Release(WHAT, noise, settings.sampling, steps)

    def affords(self, rounds: int) -> bool:
        """Says whether a client's budget allows another round after so many."""
        spent = epsilon_of([self.event] * (rounds + 1), self.privacy.delta)
        return spent <= self.privacy.epsilon * (1.0 + TOLERANCE)

    def train(
        self, spec: GanSpec, gan: Gan, examples: Examples, rounds: int, rng: np.random.Generator,
        noise: np.random.Generator,
    ) -> PrivateGan:  # fmt: skip
        """Trains a client's GAN in a round.

        Args:
            spec: The GAN.
            gan: Start.
            examples: The client's.
            rounds: In which the client has trained before.
            rng: Of generated images.
            noise: Keyed, of what is secret in a simulation.

        Raises:
            RunError: The client's budget is spent.
        """
        if not self.affords(rounds):
            raise RunError(f"its privacy budget, epsilon {self.privacy.epsilon:g}, is spent after {rounds} rounds")
        settings = self.public.dp_sgd
        how = DpSgd(
            clip=self.privacy.clip,
            noise=self.event.noise,
            batch_size=settings.sampling * len(examples),
            discriminator_steps=settings.discriminator_steps,
            adaptive=settings.adaptive,
        )
        secret = source_of(self.privacy.noise, noise)
        return train_privately(spec, gan, examples, how, steps=self.event.steps, rng=rng, noise=secret)

    def asked(self, fed: Federation, client: ClientInfo) -> bool:
        """Says whether a client may be asked to train in this round, and writes its release down if so."""
        if not fed.accounts.affords(client.partition, self.event):
            fed.event(f"client {client.partition} has spent its privacy budget, it trains its GAN no more")
            return False
        fed.accounts.add(fed.round, client.partition, self.event)
        return True

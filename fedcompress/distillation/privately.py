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
from fedcompress.errors import InputError, RunError
from fedcompress.generators.dp_sgd import DpSgd, Pace
from fedcompress.generators.private_training import WHAT, PrivateGan, train_privately
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
PACE = "private pace"
"""Of a client's state: the `Pace` with which its training goes on, (4,)."""


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

    def problems(self) -> list[str]:
        """Returns why no client could ever train, if that is so, or why there is no such budget."""
        try:
            if self.affords(0):
                return []
        except InputError as error:
            return [f"privacy.{problem}" for problem in error.problems]
        cost = epsilon_of([self.event], self.privacy.delta)
        return [
            f"public.dp_sgd.noise: received {self.event.noise:g}, with which one round costs a client epsilon "
            f"{cost:.3g}, and privacy.epsilon is {self.privacy.epsilon:g}: nobody could ever train. Raise one of them, "
            "or leave the noise out."
        ]

    def affords(self, rounds: int) -> bool:
        """Says whether a client's budget allows another round after so many."""
        spent = epsilon_of([self.event] * (rounds + 1), self.privacy.delta)
        return spent <= self.privacy.epsilon * (1.0 + TOLERANCE)

    def train(
        self, spec: GanSpec, gan: Gan, examples: Examples, rounds: int, rng: np.random.Generator,
        noise: np.random.Generator, pace: Pace | None = None,
    ) -> PrivateGan:  # fmt: skip
        """Trains a client's GAN in a round.

        Args:
            spec: The GAN.
            gan: Start.
            examples: The client's.
            rounds: In which the client has trained before.
            rng: Of generated images.
            noise: Keyed, of what is secret in a simulation.
            pace: What the client's training in the round before has left, if there was one.

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
        return train_privately(spec, gan, examples, how, steps=self.event.steps, rng=rng, noise=secret, pace=pace)

    def asked(self, fed: Federation, client: ClientInfo) -> bool:
        """Says whether a client may be asked to train in this round."""
        if not fed.accounts.affords(client.partition, self.event):
            fed.event(f"client {client.partition} has spent its privacy budget, it trains its GAN no more")
            return False
        return True

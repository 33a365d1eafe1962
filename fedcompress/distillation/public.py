"""The server's side of public data: what travels, and generators that clients train and the server combines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcompress.aggregation import weighted_mean
from fedcompress.data.federated import Examples
from fedcompress.distillation.embedded import COUNTS, EMBED, NOISES, STEPS, with_releases
from fedcompress.distillation.source import DISCRIMINATOR, GENERATOR, SEED, TRAIN, PublicSource
from fedcompress.models.architecture import ModelSpec
from fedcompress.scenario.public import PublicSettings
from fedcompress.wire.content import Arrays, ArraySpec, Content, Payload, weights_content

if TYPE_CHECKING:
    from fedcompress.groups import ClientInfo
    from fedcompress.strategy import Federation, State


def needed_action(settings: PublicSettings | None) -> str | None:
    """Returns the client action that a generator of public data needs, if there is one."""
    if settings is None or not settings.generated:
        return None
    return TRAIN if settings.trained_by_clients else EMBED


HEAD, FEATURES, TEACHER = "head", "features", "teacher"


def teacher_contents(model: ModelSpec, source: PublicSource) -> dict[str, Content]:
    """Declares how a teacher can travel: its head and its features of the public examples, or all of it."""
    kernel, bias = (ArraySpec(model.template[i].shape) for i in model.head)
    return {
        HEAD: Content((kernel, bias), lossless=True),
        FEATURES: Content((ArraySpec((None, model.features), limit=source.settings.examples),)),
        TEACHER: weights_content(model.template, kinds=model.kinds)["weights"],
    }


@dataclass(frozen=True)
class PublicData:
    """Public examples as a server strategy uses them. What lasts is in `State`, under the strategy's key "public".

    Of a GAN with `combine = "average"` the state holds "generator" and "discriminator"; with "mixture" it holds
    `generators`, those that clients sent last, from which only the server draws. Of mean embeddings it holds
    "generator" and what `embedded` says.

    Attributes:
        source: Where examples come from.
        rng: Returns the generator for a purpose before the first round.
    """

    source: PublicSource
    rng: Callable[[str], np.random.Generator]

    def initial(self) -> State:
        """Returns the state before the first round."""
        if self.source.gan is None:
            return {}
        gan = self.source.gan.initial(self.rng("initial.gan"))
        if self.source.embedded is not None:
            return {GENERATOR: gan.generator, "released": [], STEPS: 0, COUNTS: {}, NOISES: 0}
        return {GENERATOR: gan.generator, DISCRIMINATOR: gan.discriminator, "generators": []}

    def training(self, round_number: int) -> bool:
        """Says whether clients train generators in a round."""
        last = self.source.settings.train_rounds
        return self.source.settings.trained_by_clients and (not last or round_number <= last)

    def sent(self, state: State, round_number: int) -> dict[str, Arrays]:
        """Returns what a client needs to train its GAN in this round: nothing once the generator is frozen."""
        if not self.training(round_number):
            return {}
        shared = self.source.settings.share_discriminator
        crossing = self.source.crossing(state[GENERATOR])
        return crossing | ({DISCRIMINATOR: state[DISCRIMINATOR]} if shared else {})

    def drawn(self, recipe: Payload, state: State, count: int | None = None) -> Examples:
        """Returns the examples that a recipe stands for, in a mixture equally many of each client's generator.

        Args:
            recipe: As its receivers decode it.
            state: With the `generators` of a mixture.
            count: Instead of `[public] examples`.
        """
        generators = state.get("generators") or []
        if not generators:
            return self.source.draw(recipe, count)
        most = count or self.source.settings.examples
        share, seed = -(-most // len(generators)), int(recipe[SEED][0][0])
        drawn = [
            self.source.draw({SEED: [np.array([seed ^ number], np.int64)], GENERATOR: generator}, share)
            for number, generator in enumerate(generators)
        ]
        return Examples(np.concatenate([e.x for e in drawn])[:most], np.concatenate([e.y for e in drawn])[:most])

    def train(self, fed: Federation, clients: Sequence[ClientInfo], state: State) -> State:
        """Has clients train the generator on their own data, by an action of its own, and combines what they return.

        Of mean embeddings, those clients release theirs that have not done so before.
        """
        if self.source.embedded is not None:
            assert self.source.gan is not None
            return with_releases(self.source.embedded, self.source.gan, fed, clients, state)
        state = self._trained(fed, clients, state)
        if (slim := self.source.slim) is not None:
            for name, size in slim.sizes(state[GENERATOR]).items():
                fed.note(name, size)
            if problem := slim.ended(state[GENERATOR]):
                fed.event(problem)
        return state

    def _trained(self, fed: Federation, clients: Sequence[ClientInfo], state: State) -> State:
        """Returns the state after clients trained the generator, if they do in this round."""
        sent = self.sent(state, fed.round)
        if not sent:
            return state
        private = self.source.private
        asked = [client for client in clients if private.asked(fed, client)] if private else clients
        if not asked:
            return state
        replies = fed.stream(TRAIN, dict.fromkeys(asked, sent), expects=sent.keys() & {GENERATOR, DISCRIMINATOR})
        return self.combined(state, [reply.payload for reply in replies], [r.client.examples for r in replies])

    def combined(self, state: State, payloads: Sequence[Payload], examples: Sequence[int]) -> State:
        """Returns the state after clients sent what they trained; averages weigh clients by their examples."""
        if not payloads:
            return state
        names = [name for name in (GENERATOR, DISCRIMINATOR) if all(name in payload for payload in payloads)]
        means = {name: weighted_mean((payload[name] for payload in payloads), examples) for name in names}
        if self.source.slim is not None:
            means[GENERATOR] = self.source.slim.compressed(means[GENERATOR])
        mixing = self.source.settings.combine == "mixture"
        return {**state, **means, "generators": [list(p[GENERATOR]) for p in payloads] if mixing else []}

"""The server's side of public data: generators trained by clients and averaged, samples drawn and sifted.

Samples travel as a generator and a seed, never as images; both ends draw from the generator as it was decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.aggregation import weighted_mean
from fedcompress.data.federated import Examples
from fedcompress.distillation import ensemble
from fedcompress.distillation.source import DISCRIMINATOR, GENERATOR, SEED, PublicSource
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays, ArraySpec, Content, Payload, weights_content

if TYPE_CHECKING:
    from fedcompress.groups import ClientInfo
    from fedcompress.strategy import Federation, State

TRAIN = "train_generator"
"""The client action that trains a GAN."""

FEWEST = 10
"""Samples below which a round does not distil."""

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

    With `combine = "average"` the state holds "generator" and "discriminator"; with "mixture" it holds `generators`,
    those that clients sent last, from which only the server draws.

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
        return {GENERATOR: gan.generator, DISCRIMINATOR: gan.discriminator, "generators": []}

    def training(self, round_number: int) -> bool:
        """Says whether generators are trained in a round."""
        last = self.source.settings.train_rounds
        return self.source.gan is not None and (not last or round_number <= last)

    def sent(self, state: State, round_number: int) -> dict[str, Arrays]:
        """Returns what a client needs to train its GAN in this round: nothing once the generator is frozen."""
        if not self.training(round_number):
            return {}
        shared = self.source.settings.share_discriminator
        return {GENERATOR: state[GENERATOR]} | ({DISCRIMINATOR: state[DISCRIMINATOR]} if shared else {})

    def train(self, fed: Federation, clients: Sequence[ClientInfo], state: State) -> State:
        """Has clients train the generator on their own data, by an action of its own, and combines what they return."""
        sent = self.sent(state, fed.round)
        if not sent:
            return state
        request: Payload = sent
        replies = fed.call(TRAIN, dict.fromkeys(clients, request), expects=set(sent))
        return self.combined(state, [reply.payload for reply in replies], [r.client.examples for r in replies])

    def combined(self, state: State, payloads: Sequence[Payload], examples: Sequence[int]) -> State:
        """Returns the state after clients sent what they trained; averages weigh clients by their examples."""
        if not payloads:
            return state
        names = [name for name in (GENERATOR, DISCRIMINATOR) if all(name in payload for payload in payloads)]
        means = {name: weighted_mean([list(p[name]) for p in payloads], examples) for name in names}
        mixing = self.source.settings.combine == "mixture"
        return {**state, **means, "generators": [list(p[GENERATOR]) for p in payloads] if mixing else []}

    def recipe(self, fed: Federation, state: State) -> dict[str, Arrays]:
        """Returns what a client needs to draw this round's examples."""
        seed = [np.array([fed.rng("public").integers(2**62)], np.int64)]
        return {SEED: seed} | ({GENERATOR: state[GENERATOR]} if self.source.gan else {})

    def draw(self, fed: Federation, state: State, recipe: Payload) -> Examples | None:
        """Returns what a recipe stands for, as clients see it; None, and an event, if the generator has collapsed."""
        if self.source.gan is None:
            return self.source.draw(recipe)
        decoded = {**recipe, GENERATOR: fed.decoded(GENERATOR, recipe[GENERATOR])}
        drawn = self._mixture(state, decoded) if state["generators"] else self.source.draw(decoded)
        from fedcompress.generators.quality import collapsed

        if problem := collapsed(drawn.x, drawn.y):
            fed.event(f"the generator has collapsed, this round does not distil: {problem}")
            return None
        return drawn

    def _mixture(self, state: State, recipe: Payload) -> Examples:
        generators = state["generators"]
        share = -(-self.source.settings.examples // len(generators))
        seed = int(recipe[SEED][0][0])
        parts = [
            self.source.draw({SEED: [np.array([seed ^ number], np.int64)], GENERATOR: generator}, share)
            for number, generator in enumerate(generators)
        ]
        limit = self.source.settings.examples
        return Examples(np.concatenate([p.x for p in parts])[:limit], np.concatenate([p.y for p in parts])[:limit])

    @property
    def sifting(self) -> bool:
        """Whether samples have to convince the ensemble; those that do are of the class that was asked for."""
        return self.source.gan is not None and self.source.settings.confidence > 0

    def sift(self, fed: Federation, labels: NDArray[np.int32], logits: ensemble.Logits) -> NDArray[np.bool_] | None:
        """Says which samples of a generator are worth learning, given the ensemble's logits; notes how many are not.

        Returns:
            (n,) bool; None, and an event, if too few are left to distil on.
        """
        kept = np.ones(len(labels), np.bool_)
        if self.sifting:
            convincing = ensemble.confident(logits, labels, self.source.settings.confidence)
            kept = ensemble.within_quota(convincing, labels, self.source.classes)
            fed.note("rejection_rate", 1.0 - float(kept.mean()))
        if kept.sum() < FEWEST:
            fed.event(f"{int(kept.sum())} of {len(kept)} samples are convincing, this round does not distil")
            return None
        return kept

    def remember(self, state: State, samples: dict[str, NDArray[Any]]) -> tuple[State, dict[str, NDArray[Any]]]:
        """Adds samples to a rolling buffer of `[public] buffer` rounds.

        Args:
            state: Under the key "public".
            samples: Name -> array with a row per sample.

        Returns:
            The new state, and the samples of all rounds in the buffer.
        """
        rounds = [*state.get("buffer", []), samples][-self.source.settings.buffer :]
        whole = {name: np.concatenate([part[name] for part in rounds]) for name in samples}
        return {**state, "buffer": rounds if self.source.settings.buffer > 1 else []}, whole

"""Public data from mean embeddings: every client releases its own once, the server trains the generator on their sum.

Whatever is done with releases afterwards costs no privacy: the server trains for as long as it likes, and the same
releases serve every round. A client that takes part for the first time in a later round releases then; the generator
goes on from where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.federated import Examples
from fedcompress.errors import InputError, RunError, TooFewRepliesError
from fedcompress.generators.embedding import Embedding, clipped, median_distance, noise_images, noisy
from fedcompress.generators.matching import Target, match
from fedcompress.generators.spec import GanSpec
from fedcompress.privacy.accounting import Release, epsilon_of, noise_for
from fedcompress.privacy.accounts import promise
from fedcompress.privacy.noise import source_of
from fedcompress.scenario.public import EmbeddingSettings, PrivacySettings
from fedcompress.wire.content import Arrays, ArraySpec, Content

if TYPE_CHECKING:
    from fedcompress.groups import ClientInfo
    from fedcompress.strategy import Federation, State

EMBED, EMBEDDING = "embed", "embedding"
"""The client action that releases a mean embedding, and the content. What it draws does not depend on the round."""
AGAIN = "asked again"
"""Content of a request for a release that was asked for before: a client that holds it no more draws no other noise."""
ASKED_AGAIN = Content((ArraySpec((1,), "uint8"),), lossless=True)
GENERATOR, RELEASES, STEPS, COUNTS, NOISES = "generator", "releases", "steps", "counts", "noises"
"""Of the state: the generator, the sum of all releases, the steps that the generator has been trained for, where each
client adds its own noise, how many examples of each class it says that it holds, and how often noise is in the sum."""


@dataclass(frozen=True, eq=False)
class MeanEmbedding:
    """What clients release, and how a generator is made of it; the same on server and clients.

    Attributes:
        settings: `[public.embedding]`.
        embedding: Random features, and the vector that is released.
        privacy: `[privacy]`; None: releases are exact, and have no epsilon.
    """

    settings: EmbeddingSettings
    embedding: Embedding
    privacy: PrivacySettings | None = None

    @property
    def content(self) -> Content:
        """Declares a release; what a wire format does to it comes after the noise, and costs no privacy."""
        return Content((ArraySpec((self.embedding.size,)),))

    @cached_property
    def event(self) -> Release:
        """What a release costs its client: its whole budget, at the least noise that does."""
        noise = 0.0 if self.privacy is None else noise_for(self.privacy.epsilon, self.privacy.delta)
        return Release(EMBEDDING, noise)

    @property
    def repeats(self) -> bool:
        """Whether a client that has lost its release makes the same one again."""
        return self.privacy is None or self.noise_by_server or self.privacy.noise == "seed"

    @property
    def noise_by_server(self) -> bool:
        """Whether clients are what is hidden: they trust the server, which adds the noise to their sum."""
        return self.privacy is not None and self.privacy.unit == "client"

    def release(self, examples: Examples, rng: np.random.Generator) -> Arrays:
        """Returns what a client sends.

        Args:
            examples: Its own.
            rng: For this release alone.
        """
        exact = self.embedding.release(examples)
        if self.privacy is None:
            return [exact.astype(np.float32)]
        if self.noise_by_server:
            return [clipped(exact, self.privacy.clip).astype(np.float32)]
        return [noisy(exact, self.event.noise, source_of(self.privacy.noise, rng)).astype(np.float32)]

    def summed(self, releases: Sequence[Arrays], rng: np.random.Generator) -> NDArray[np.float64]:
        """Returns the sum of releases; where clients leave the noise to the server, with that noise.

        Args:
            releases: As they arrived.
            rng: For this sum alone.
        """
        total = np.zeros(self.embedding.size)
        for release in releases:
            vector = np.asarray(release[0], np.float64)
            total += clipped(vector, self.privacy.clip) if self.privacy and self.noise_by_server else vector
        if not self.noise_by_server:
            return total
        assert self.privacy is not None
        return noisy(total, self.event.noise * self.privacy.clip, source_of(self.privacy.noise, rng))

    def counts(self, release: Arrays) -> NDArray[np.float64]:
        """Returns how many examples of each class a client says that it holds, (classes,), not negative."""
        return np.asarray(np.maximum(self.embedding.parts(release[0])[0], 0.0))

    def count_deviation(self, noises: int) -> float:
        """Returns the deviation of the noise on the count of a class, in a sum that noise was added to so many times.

        Args:
            noises: Clients that have added their own; where the server adds it, sums of clients that it added it to.
        """
        weight = self.embedding.count_weight
        scale = self.privacy.clip if self.privacy and self.noise_by_server else 1.0
        return self.event.noise * scale * sqrt(noises) * sqrt(1.0 + weight**2) / weight

    def problems(self, clients: int, examples: int) -> list[str]:
        """Returns why nothing can be learned from releases at this epsilon, if that is so.

        Args:
            clients: Number of clients.
            examples: That they hold together.
        """
        if self.privacy is None:
            return []
        received = f"privacy.epsilon: received {self.privacy.epsilon:g}, at which a release"
        if self.noise_by_server:
            if self.event.noise <= clients:
                return []
            return [
                f"{received} has noise of {self.event.noise:.3g} times what one client adds, and there are {clients}: "
                f"nothing would be left to learn from; expected at least {self._epsilon_at(clients):.2g}, or more "
                "clients."
            ]
        mean, deviation = examples / self.embedding.classes, self.count_deviation(clients)
        if deviation <= mean:
            return []
        return [
            f"{received} has noise of deviation {deviation:.3g} on the counts of classes, which are {mean:.3g} in the "
            "mean: nothing would be left to learn from; expected at least "
            f"{self._epsilon_at(self.event.noise * mean / deviation):.2g}, or more examples."
        ]

    def warnings(self) -> list[str]:
        """Returns what the user should know of what clients release."""
        if self.privacy is None:
            return [
                'public.source = "embedding" without [privacy]: clients send exact mean embeddings, which have no '
                "epsilon and can reveal training data."
            ]
        return [promise(self.privacy)]

    def _epsilon_at(self, noise: float) -> float:
        assert self.privacy is not None
        return epsilon_of([Release(EMBEDDING, noise)], self.privacy.delta)


def make_embedding(
    settings: EmbeddingSettings,
    input_shape: tuple[int, ...],
    classes: int,
    pool: NDArray[Any] | None,
    seed: int,
    privacy: PrivacySettings | None,
) -> MeanEmbedding:
    """Returns what `[public.embedding]` describes.

    Args:
        settings: The section.
        input_shape: Of one example.
        classes: Number of classes.
        pool: Public examples that the kernel's width is chosen by, if they come from a data set.
        seed: Of the run.
        privacy: `[privacy]`.

    Raises:
        InputError: The width cannot be chosen so.
    """
    width = settings.width
    if isinstance(width, str):
        try:
            known = noise_images(input_shape, seed) if pool is None else pool
            width = median_distance(known, settings.smoothness)
        except InputError as error:
            raise InputError(f"public.embedding.width: received {settings.width!r}, but {error}.") from None
    embedding = Embedding(
        input_shape, classes, settings.features, float(width), settings.smoothness, settings.count_weight, seed
    )
    return MeanEmbedding(settings, embedding, privacy)


def with_releases(
    source: MeanEmbedding, spec: GanSpec, fed: Federation, clients: Sequence[ClientInfo], state: State
) -> State:
    """Returns the state after those clients that have not released before have done so, and the training on all.

    Args:
        source: What they release.
        spec: Of the generator.
        fed: The federation, in a round.
        clients: Those that take part in it.
        state: Of the public data.

    Raises:
        RunError: Too few clients replied, or none may, and no release has come before.
    """
    known = set(state["released"])
    new = [client for client in clients if client.partition not in known and _affordable(source, fed, client)]
    if not known and not new:
        raise RunError(
            "no client may release its mean embedding any more, and none has come before: the privacy budget of each "
            "is spent on releases that were cut off. Begin the run anew, in another directory."
        )
    again: dict[str, Arrays] = {AGAIN: [np.ones(1, np.uint8)]}
    nothing: dict[str, Arrays] = {}
    requests = {client: again if fed.accounts.has(client.partition, source.event) else nothing for client in new}
    try:
        replies = fed.call(EMBED, requests, expects={EMBEDDING}) if new else []
    except TooFewRepliesError:
        if not known:
            raise
        replies = []  # they are asked again when they take part next
    if not replies:
        return state
    total = source.summed([reply.payload[EMBEDDING] for reply in replies], fed.rng("embedding.noise"))
    if known:
        total = total + state[RELEASES]
    released = sorted(known | {reply.client.partition for reply in replies})
    counts = dict(state[COUNTS])
    if not source.noise_by_server:
        counts |= {str(reply.client.partition): source.counts(reply.payload[EMBEDDING]) for reply in replies}
    added = state[NOISES] + (1 if source.noise_by_server else len(replies))
    after = {**state, RELEASES: total, "released": released, COUNTS: counts, NOISES: added}
    return _trained(source, spec, fed, after)


def _affordable(source: MeanEmbedding, fed: Federation, client: ClientInfo) -> bool:
    """Says whether a client may be asked for its release: what it has been asked for before it sends again."""
    if fed.accounts.has(client.partition, source.event) or fed.accounts.affords(client.partition, source.event):
        return True
    fed.event(f"client {client.partition} has spent its privacy budget, it releases nothing more")
    return False


def _trained(source: MeanEmbedding, spec: GanSpec, fed: Federation, state: State) -> State:
    """Returns the state with the generator trained on all releases so far."""
    settings = source.settings
    steps = min(settings.more_steps if state[STEPS] else settings.steps, settings.most_steps - state[STEPS])
    if steps <= 0:
        return state
    try:
        deviation = source.count_deviation(state[NOISES])
        target = Target.of(source.embedding, state[RELEASES], deviation)
    except InputError as error:
        fed.event(f"the generator was not trained: {error}")
        return state
    matched = match(
        spec,
        state[GENERATOR],
        source.embedding,
        target,
        steps=steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        rng=fed.rng("embedding.matching"),
    )
    return {**state, GENERATOR: matched.generator, STEPS: state[STEPS] + steps}

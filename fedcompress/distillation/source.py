"""Public data: examples that nobody owns, drawn alike on both ends from what is known there or from a generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.federated import Examples
from fedcompress.distillation.embedded import AGAIN, ASKED_AGAIN, EMBED, EMBEDDING, MeanEmbedding, make_embedding
from fedcompress.distillation.privately import PrivateTraining
from fedcompress.distillation.slimming import GENERATOR_MASK, SlimTraining
from fedcompress.errors import InputError
from fedcompress.generators.sampling import balanced_labels, sample
from fedcompress.generators.spec import GanSpec
from fedcompress.privacy.accounting import Release
from fedcompress.privacy.accounts import Accounts
from fedcompress.scenario.public import PrivacySettings, PublicSettings
from fedcompress.seeding import SERVER, generator
from fedcompress.wire.content import Arrays, ArraySpec, Content, Payload

SEED, GENERATOR, DISCRIMINATOR, LOGITS, LABELS, KEPT = "seed", "generator", "discriminator", "logits", "labels", "kept"
LABEL_COUNTS = "label counts"
"""How many examples of each class a client trains on, (classes,): it tells the server what the client holds."""
COUNT = "count_labels"
"""The client action that says it."""
TRAIN = "train_generator"
"""The client action that trains a GAN."""


@dataclass(frozen=True, eq=False)
class PublicSource:
    """Where public examples come from; the same on server and clients.

    Attributes:
        settings: `[public]`.
        input_shape: Shape of one example.
        classes: Number of classes.
        pool: Known examples to draw from ("holdout", "dataset:NAME").
        pool_labels: Their labels (n,), which only `labelled` looks at.
        gan: The generator's architecture ("gan", "embedding").
        embedded: What clients release, and how the generator is made of it ("embedding").
        private: How clients train the GAN, where it is to be private ("gan").
        slim: How clients slim the GAN, where they do ("gan").
    """

    settings: PublicSettings
    input_shape: tuple[int, ...]
    classes: int
    pool: NDArray[Any] | None = None
    gan: GanSpec | None = None
    pool_labels: NDArray[np.int32] | None = None
    embedded: MeanEmbedding | None = None
    private: PrivateTraining | None = None
    slim: SlimTraining | None = None

    @property
    def contents(self) -> dict[str, Content]:
        """Declares what travels to draw public examples, and what is said about them."""
        rows = self.settings.examples
        declared = {
            SEED: Content((ArraySpec((1,), "int64"),), lossless=True),
            LOGITS: Content((ArraySpec((None, self.classes), limit=rows),)),
            LABELS: Content((ArraySpec((None,), "uint16", limit=rows),), lossless=True),
            KEPT: Content((ArraySpec((None,), "uint8", limit=(rows + 7) // 8),), lossless=True),
            LABEL_COUNTS: Content((ArraySpec((self.classes,), "uint32"),), lossless=True),
        }
        if self.gan is not None:
            networks = self.gan.contents
            declared[GENERATOR] = Content(networks[GENERATOR].arrays, kept=True)
            if self.embedded is None:
                declared[DISCRIMINATOR] = Content(networks[DISCRIMINATOR].arrays)
        if self.slim is not None:
            declared |= {GENERATOR: self.slim.content, GENERATOR_MASK: self.slim.mask_content}
        if self.embedded is not None:
            declared |= {EMBEDDING: self.embedded.content, AGAIN: ASKED_AGAIN}
        return declared

    def releases(self, action: str) -> bool:
        """Says whether an action of clients releases something of their data that an account may have to cover."""
        return action in (EMBED, TRAIN, COUNT)

    def charge(self, accounts: Accounts, round_number: int, client: int, action: str, request: Payload) -> None:
        """Writes down what a client is asked to release of its data, whoever asks.

        Args:
            accounts: Of the run.
            round_number: In which it is asked.
            client: Its partition.
            action: What it is asked for.
            request: What it is sent.
        """
        if action == EMBED and self.embedded is not None:
            sends_the_same = self.embedded.repeats or AGAIN in request
            if not (sends_the_same and accounts.has(client, self.embedded.event)):
                accounts.add(round_number, client, self.embedded.event)
        elif action == TRAIN and self.private is not None:
            accounts.add(round_number, client, self.private.event)
        elif action == COUNT and self._has_privacy:
            accounts.add(round_number, client, Release(LABEL_COUNTS, 0.0))

    @property
    def _has_privacy(self) -> bool:
        return self.private is not None or (self.embedded is not None and self.embedded.privacy is not None)

    def recipe(self, seed: int, generator: Arrays | None) -> dict[str, Arrays]:
        """Returns what a client needs to draw examples.

        Args:
            seed: Of the examples.
            generator: That makes them, if one does.
        """
        return {SEED: [np.array([seed], np.int64)], **({} if generator is None else self.crossing(generator))}

    def crossing(self, generator: Arrays) -> dict[str, Arrays]:
        """Returns a generator as contents: beside one that has lost channels, a mask of what is left."""
        left = None if self.slim is None else self.slim.mask(generator)
        return {GENERATOR: generator} | ({} if left is None else {GENERATOR_MASK: left})

    def draw(self, recipe: Payload, count: int | None = None) -> Examples:
        """Returns the examples that a recipe stands for; the same recipe gives the same ones everywhere.

        Args:
            recipe: "seed", and where there is one "generator", as the receiver decodes them.
            count: Instead of `[public] examples`.

        Returns:
            Inputs, and the labels that a generator was asked for; all zero where there are none.
        """
        count = count or self.settings.examples
        rng = generator(int(recipe[SEED][0][0]), 0, SERVER, "public")
        if self.gan is not None:
            labels = balanced_labels(count, self.classes, rng)
            return Examples(sample(self.gan, list(recipe[GENERATOR]), labels, rng), labels)
        unlabelled = np.zeros(count, np.int32)
        if self.pool is None:
            return Examples(rng.integers(0, 256, (count, *self.input_shape), np.uint8), unlabelled)
        size = len(self.pool)
        chosen = np.sort(rng.choice(size, min(count, size), replace=False))
        return Examples(self.pool[chosen], unlabelled[: len(chosen)])

    def labelled(self, recipe: Payload) -> Examples:
        """Returns all public examples with their labels, those of a recipe or not; of a generator those that it makes.

        Args:
            recipe: As for `draw`.

        Raises:
            InputError: They have none, or classes that the federation does not have (`without_labels`).
        """
        if problem := self.without_labels:
            raise InputError(problem)
        if self.pool is None or self.pool_labels is None:
            return self.draw(recipe)
        return Examples(self.pool, self.pool_labels)

    @property
    def without_labels(self) -> str | None:
        """Why its examples have no labels that a model of the federation could learn; None if they have."""
        received = f"public.source: received {self.settings.source!r}"
        if self.gan is None and self.pool is None:
            return f"{received}, whose examples have no labels."
        most = 0 if self.pool_labels is None else int(self.pool_labels.max(initial=0))
        if most >= self.classes:
            return f"{received}, which has classes up to {most}, the federation's are 0 to {self.classes - 1}."
        return None


def make_source(
    settings: PublicSettings,
    input_shape: Sequence[int],
    classes: int,
    pool: NDArray[Any] | None,
    pool_labels: NDArray[np.int32] | None = None,
    *,
    seed: int = 0,
    privacy: PrivacySettings | None = None,
    rounds: int = 1,
) -> PublicSource:
    """Returns the source that `[public]` names.

    Args:
        settings: `[public]`.
        input_shape: Shape of one example of the federation.
        classes: Number of classes.
        pool: Examples that are known on both ends, for the sources that have some.
        pool_labels: Their labels.
        seed: Of the run.
        privacy: `[privacy]`.
        rounds: Of the run.

    Raises:
        InputError: The source cannot give examples like those of the federation.
    """
    shape = tuple(input_shape)
    if pool is not None and pool.shape[1:] != shape:
        key, value = ("embedding.width", settings.embedded.width) if settings.embedded else ("source", settings.source)
        raise InputError(
            f"public.{key}: {value!r} has examples of {_text(pool.shape[1:])}, the federation's are "
            f"{_text(shape)}; expected the same shape."
        )
    try:
        of_embedding = settings.embedded
        kind = of_embedding.generator if of_embedding else settings.gan
        slim = SlimTraining(settings, shape, classes) if settings.slimmed else None
        gan = slim.spec if slim else GanSpec(kind, shape, classes) if settings.generated else None
    except InputError as error:
        raise InputError(f"public.source: {problem}" for problem in error.problems) from None
    if of_embedding is None:
        private = None
        if gan is not None and privacy is not None:
            private = PrivateTraining(settings, privacy, min(rounds, settings.train_rounds or rounds))
        return PublicSource(settings, shape, classes, pool, gan, pool_labels, private=private, slim=slim)
    embedded = make_embedding(of_embedding, shape, classes, pool, seed, privacy)
    return PublicSource(settings, shape, classes, gan=gan, embedded=embedded)


def kept_rows(payload: Payload, rows: int) -> NDArray[np.int64]:
    """Returns positions of the rows that "kept" names; all of them without it."""
    if KEPT not in payload:
        return np.arange(rows)
    return np.flatnonzero(np.unpackbits(payload[KEPT][0], count=rows))


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

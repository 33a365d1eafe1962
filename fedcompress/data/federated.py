"""One run's view of a data set: who trains, validates and is tested on which examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, prepared
from ..seeding import SERVER, generator
from ..units import counted, cut_list
from .dataset import Dataset
from .notices import notices
from .partition import Partition, Pool, divided, label_distribution, partition_digest
from .splits import Indices, holdout, matched_test, split_validation


@dataclass(frozen=True, eq=False)
class Examples:
    """Some labelled examples: `x` (n, ...) uint8 or float32, `y` (n,) int32."""

    x: NDArray[Any]
    y: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.y)

    def followed_by(self, other: Examples) -> Examples:
        """Returns these and then others, as training sees both: beside floats, images of uint8 are in [0, 1]."""
        x = [self.x, other.x]
        if self.x.dtype != other.x.dtype:
            x = [a.astype(np.float32) / np.float32(255 if a.dtype == np.uint8 else 1) for a in x]
        return Examples(np.concatenate(x), np.concatenate([self.y, other.y]))


@dataclass(frozen=True, eq=False)
class FederatedData:
    """A data set divided over clients: indices into shared arrays. Examples are gathered when asked for.

    Attributes:
        dataset: The whole data set.
        seed: Of what is drawn here.
        train_parts: For each client, sorted indices into the training set.
        validation_parts: Likewise; disjoint from all `train_parts`.
        server_validation: Indices into the training set that no client holds.
        public: Indices into the training set that nobody trains on with labels, for distillation; disjoint from all.
        test_limit: Most test examples that a client is tested on.
        foreign: Another data set, whose training inputs are public.
        notes: What the user should know of how it is divided.
        own_tests: For each client sorted indices into the test set, of examples of its own kind; empty where clients
            differ in labels alone.
    """

    dataset: Dataset
    seed: int
    train_parts: tuple[Indices, ...]
    validation_parts: tuple[Indices, ...]
    server_validation: Indices
    test_limit: int = 1000
    public: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    foreign: Dataset | None = None
    notes: tuple[str, ...] = ()
    own_tests: tuple[Indices, ...] = ()

    @property
    def clients(self) -> int:
        """Number of clients."""
        return len(self.train_parts)

    @property
    def people(self) -> list[list[str]] | None:
        """Whose examples each client holds, by name; None if nothing says so, or somebody's are at two clients."""
        ids, names = self.dataset.client_ids, self.dataset.people
        if ids is None or names is None:
            return None
        held = [np.unique(ids[np.concatenate(of)]) for of in zip(self.train_parts, self.validation_parts, strict=True)]
        together = np.concatenate(held)
        if len(np.unique(together)) < len(together):
            return None
        return [[str(name) for name in names[of]] for of in held]

    def train(self, client: int) -> Examples:
        """Returns what a client trains on."""
        return self._training_set(self.train_parts[self._checked(client)])

    def validation(self, client: int) -> Examples:
        """Returns what a client chooses by (thresholds, early stop); empty for a client of very few examples."""
        return self._training_set(self.validation_parts[self._checked(client)])

    def test_part(self, client: int) -> Indices:
        """Returns sorted indices into the test set, on which a client's own accuracy is measured.

        They are of examples of its own kind where the partition says which these are; otherwise they have the label
        distribution of its training examples.
        """
        labels = self.dataset.y_train[self.train_parts[self._checked(client)]]
        rng = generator(self.seed, 0, client, "test")
        if self.own_tests and len(own := self.own_tests[client]):
            kept, _ = holdout(self.dataset.y_test[own], max(0.0, 1.0 - self.test_limit / len(own)), rng)
            return own[kept]
        return matched_test(labels, self.dataset.y_test, self.dataset.classes, rng, limit=self.test_limit)

    def test(self, client: int) -> Examples:
        """Returns what a client's own accuracy is measured on."""
        part = self.test_part(client)
        return Examples(self.dataset.x_test[part], self.dataset.y_test[part])

    @property
    def server_validation_examples(self) -> Examples:
        """What the server chooses by: best round, early stop."""
        return self._training_set(self.server_validation)

    @property
    def public_inputs(self) -> NDArray[Any] | None:
        """Inputs (n, ...) that are known to all: of another data set, or kept out of the training data; or none."""
        if self.foreign is not None:
            return self.foreign.x_train
        return self.dataset.x_train[self.public] if len(self.public) else None

    @property
    def public_labels(self) -> NDArray[np.int32] | None:
        """The labels (n,) of those inputs, in their own data set; only for methods that say that they use them."""
        if self.foreign is not None:
            return self.foreign.y_train
        return self.dataset.y_train[self.public] if len(self.public) else None

    @property
    def test_examples(self) -> Examples:
        """The whole test set: only ever reported, never chosen by."""
        return Examples(self.dataset.x_test, self.dataset.y_test)

    def pooled(self, clients: Iterable[int] | None = None) -> Examples:
        """Returns the training examples of all clients together, or of some, in the order of the data set."""
        parts = self.train_parts if clients is None else [self.train_parts[client] for client in clients]
        return self._training_set(np.sort(np.concatenate(parts)))

    @cached_property
    def distribution(self) -> NDArray[np.int64]:
        """(clients, classes): examples of each class that a client holds, validation included."""
        labels, classes = self.dataset.y_train, self.dataset.classes
        trained, validated = (label_distribution(labels, p, classes) for p in (self.train_parts, self.validation_parts))
        return trained + validated

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the data and of every split: equal on each node that recomputed the same view."""
        parts = [partition_digest(parts) for parts in (self.train_parts, self.validation_parts)]
        parts += [partition_digest([self.server_validation, self.public]), str(self.seed), str(self.test_limit)]
        digests = [dataset.digest for dataset in (self.dataset, self.foreign) if dataset is not None]
        return sha256("/".join([*digests, *parts]).encode()).hexdigest()

    def _training_set(self, indices: Indices) -> Examples:
        return Examples(self.dataset.x_train[indices], self.dataset.y_train[indices])

    def _checked(self, client: int) -> int:
        if not 0 <= client < self.clients:  # SERVER is -1: it must not silently mean the last client
            raise IndexError(f"client {client} of {self.clients}")
        return client


def federate(
    dataset: Dataset,
    partition: Partition,
    seed: int,
    *,
    test_limit: int = 1000,
    public: int = 0,
    foreign: Dataset | None = None,
) -> FederatedData:
    """Divides a data set over clients: a pure function of its arguments.

    The server's validation examples are held out of the training set first, then public ones, the rest is partitioned,
    then each client splits off its validation examples.

    Args:
        dataset: The data.
        partition: Divides it; the settings are its own, `[data]`.
        seed: Of what is drawn here.
        test_limit: Most test examples that a client is tested on.
        public: Number of examples kept out as public data.
        foreign: Another data set, whose training inputs are public.

    Raises:
        InputError: There are too few examples, or the partition is not one.
    """
    settings, labels = partition.settings, dataset.y_train

    def held_out(members: Indices, fraction: float, purpose: str) -> tuple[Indices, Indices]:
        rest, out = holdout(labels[members], fraction, generator(seed, 0, SERVER, purpose))
        return members[rest], members[out]

    rest = np.arange(len(labels))
    if settings.examples is not None and settings.examples < len(labels):
        _, rest = held_out(rest, settings.examples / len(labels), "examples")
    rest, server_validation = held_out(rest, settings.server_validation, "server_validation")
    shared = np.empty(0, np.int64)
    if public:
        if public >= len(rest):
            raise InputError(f"public.examples: received {public}, but only {len(rest)} training examples are left.")
        rest, shared = held_out(rest, public / len(rest), "public")
    pool = Pool(dataset, rest)
    parts = divided(partition, settings.partition, pool, generator(seed, 0, SERVER, "partition"))
    splits = [
        split_validation(rest[part], labels, settings.validation, generator(seed, 0, client, "validation"))
        for client, part in enumerate(parts)
    ]
    trained = tuple(train for train, _ in splits)
    with prepared(f"partition {settings.partition!r}"):
        own = partition.own_tests(dataset, trained, generator(seed, 0, SERVER, "own_tests"))
    own_tests = () if own is None else tuple(np.sort(np.asarray(part, np.int64)) for part in own)
    return FederatedData(
        dataset,
        seed,
        trained,
        tuple(validation for _, validation in splits),
        server_validation,
        test_limit,
        shared,
        foreign,
        (*notices(dataset, settings.normalise), *partition.notes(pool), *_untested(dataset, trained, own_tests)),
        own_tests,
    )


def _untested(dataset: Dataset, trained: Sequence[Indices], own_tests: Sequence[Indices]) -> Iterator[str]:
    """Yields how many clients there is nothing to test on, if any."""
    known = np.isin(dataset.y_train, dataset.y_test)
    if known.all():
        return
    own = [bool(len(part)) for part in own_tests] or [False] * len(trained)
    if lacking := [client for client, part in enumerate(trained) if not own[client] and not known[part].any()]:
        yield (
            f"data: no test examples of their classes for {len(lacking)} of {counted(len(trained), 'client')} "
            f"({cut_list(lacking)}): no accuracy on their own distributions, and means over clients leave them out."
        )

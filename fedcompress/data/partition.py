"""How examples are divided over clients: the plug-in interface, and what is checked of it and told about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from fedcompress.units import counted

from ..errors import InputError, prepared
from ..parameters import Params
from ..scenario.sections import DataSettings
from .dataset import Dataset, read_only
from .splits import Indices

if TYPE_CHECKING:
    from ..plugins import Use


@dataclass(frozen=True, eq=False)
class Pool:
    """The n examples that are divided; a position from 0 to n - 1 stands for each.

    Attributes:
        dataset: Whose training examples they are.
        members: (n,) their positions in it; read-only, as all that is the data's.
    """

    dataset: Dataset
    members: Indices

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", read_only(self.members))

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(n,) classes, numbered 0, 1, ... without gaps."""
        return read_only(np.unique(self.dataset.y_train[self.members], return_inverse=True)[1].astype(np.int64))

    @property
    def inputs(self) -> NDArray[Any]:
        """(n, ...) inputs, as the data set has them; copied at each call."""
        return self.dataset.x_train[self.members]

    @property
    def client_ids(self) -> NDArray[np.int64] | None:
        """(n,) whose each example is by nature, where the data set says so."""
        return None if self.dataset.client_ids is None else self.dataset.client_ids[self.members]


class Partition(ABC):
    """Divides examples over clients: the plug-in interface, one subclass per file.

    Whatever it returns is checked: a position is used once at most, and every client gets the minimum. Positions that
    it leaves out are not used in the run.

    Attributes:
        params: Validated from `[data.partition_params]`.
        settings: `[data]`: `clients`, `alpha`, ..., and `least(n)`, the fewest examples of a client.
    """

    Params: ClassVar[type[BaseModel]] = Params
    balances: ClassVar[bool] = False
    """Whether it does what `balanced` in `[data]` asks for."""

    def __init__(self, params: Any, settings: DataSettings) -> None:
        self.params = params
        self.settings = settings

    def problems_in(self, use: Use) -> Iterable[str]:
        """Returns what is wrong with its use in a scenario, a sentence each; asked before any data is read."""
        if self.settings.balanced and not self.balances:
            known = use.plugins.shipped("partitions", lambda kind: kind.balances)
            yield f'data.balanced: is for partition = "{known}", but data.partition is "{use.name}".'

    def notes(self, pool: Pool) -> Iterable[str]:
        """Returns what the user should know of how these examples are divided, a sentence each."""
        return ()

    def own_tests(
        self, dataset: Dataset, held: Sequence[Indices], rng: np.random.Generator
    ) -> Sequence[Indices] | None:
        """Returns for each client the test examples of its own kind, on which it is then tested.

        None, as here, where clients differ in labels alone: then a client is tested on examples with its label mix, and
        so is one that gets none.

        Args:
            dataset: Whose training examples were divided.
            held: For each client the positions of its examples in the training set.
            rng: Decides.
        """
        return None

    @abstractmethod
    def divide(self, pool: Pool, rng: np.random.Generator) -> Sequence[Indices]:
        """Returns the positions in the pool that each client gets, client 0 first.

        Args:
            pool: The examples.
            rng: The only source of random numbers, so that every process comes to the same result.
        """


def divided(partition: Partition, name: str, pool: Pool, rng: np.random.Generator) -> list[Indices]:
    """Has a partition divide a pool, and checks what it returns.

    Args:
        partition: Divides.
        name: Of the partition, for messages.
        pool: The examples.
        rng: Decides.

    Returns:
        For each client the sorted positions of its examples, disjoint.

    Raises:
        InputError: There are too few examples, or the partition does not do what its interface promises.
    """
    clients, least = partition.settings.clients, partition.settings.least(len(pool))
    if clients * least > len(pool):
        raise InputError(
            f"{counted(clients, 'client')} x at least {counted(least, 'example')} are {clients * least}, but there are "
            f"only {counted(len(pool), 'example')}; lower clients or minimum."
        )
    with prepared(f"partition {name!r}"):
        # no call for each of perhaps ten thousand clients: that would take longer than the partition itself
        divided_pool = partition.divide(pool, rng)
        if not isinstance(divided_pool, Iterable):
            raise TypeError(f"divide returned {type(divided_pool).__name__}, expected an index set for each client")
        parts = [part if type(part) is np.ndarray else np.asarray(part) for part in divided_pool]
    if problem := _misshapen(parts, clients, least):
        raise InputError(f"partition {name!r}: {problem}.")
    parts = [part if part.dtype == np.int64 else part.astype(np.int64) for part in parts]
    positions = np.concatenate(parts)
    owner = np.repeat(np.arange(clients), [part.size for part in parts])
    if problem := _misplaced(positions, owner, len(pool)):
        raise InputError(f"partition {name!r}: {problem}.")
    in_order = (np.diff(positions) > 0) | (np.diff(owner) > 0)
    return parts if in_order.all() else [np.sort(part) for part in parts]


def _misshapen(parts: Sequence[NDArray[Any]], clients: int, least: int) -> str | None:
    """Returns the first thing that is wrong with the number, types and sizes of index sets, or None."""
    if len(parts) != clients:
        return f"returned {len(parts)} index sets, expected one for each of {counted(clients, 'client')}"
    for client, part in enumerate(parts):
        if part.ndim != 1 or (part.dtype.kind not in "iu" and part.size):
            return f"client {client}: received {part.dtype} of shape {part.shape}, expected integers of shape (n,)"
        if part.size < least:
            return (
                f"client {client}: received {counted(part.size, 'example')}, expected at least {least} (data.minimum)"
            )
    return None


def _misplaced(positions: Indices, owner: Indices, examples: int) -> str | None:
    """Returns the first thing that is wrong with positions in a pool, given the client that gets each, or None."""
    outside = np.flatnonzero((positions < 0) | (positions >= examples))
    if outside.size:
        client, position = owner[outside[0]], positions[outside[0]]
        return f"client {client}: received position {position}, expected 0 to {examples - 1}"
    counts = np.bincount(positions, minlength=examples)
    if (counts > 1).any():
        twice = int(np.argmax(counts > 1))
        holders = ", ".join(map(str, np.unique(owner[positions == twice])))
        return f"position {twice} is given {counts[twice]} times, to client {holders}; expected once at most"
    return None


def label_distribution(labels: NDArray[Any], parts: Sequence[Indices], classes: int) -> NDArray[np.int64]:
    """Returns the number of examples of each class at each client, (clients, classes)."""
    sizes = np.array([len(part) for part in parts], np.int64)
    owner = np.repeat(np.arange(len(parts)), sizes)
    labels_held = labels[np.concatenate(parts)] if len(parts) else np.empty(0, np.int64)
    return np.bincount(owner * classes + labels_held, minlength=len(parts) * classes).reshape(len(parts), classes)


def partition_digest(parts: Sequence[Indices]) -> str:
    """Returns the SHA-256 of who holds which examples: equal on every node that computed the same partition."""
    digest = sha256(np.array([len(part) for part in parts], "<i8").tobytes())
    for part in parts:
        digest.update(part.astype("<i8", copy=False).tobytes())
    return digest.hexdigest()

"""What strategies share that add up by how much clients move away from the global weights that they begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clients._dropping import DROPPED, gone
from fedcompress.aggregation import Held
from fedcompress.client import ClientStrategy
from fedcompress.distillation.tiers import TierParams
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import Arrays, Federation, Reply, State
from strategies.fedavg import FedAvg
from strategies.heterofl import tiers_apart, trained_by

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class EqualParams(TierParams):
    """Parameters of a strategy whose clients count alike, as published."""

    by_examples: bool = Field(False, description="weigh clients by their examples, as fedavg does; published: alike")


class Stepping(FedAvg):
    """FedAvg of clients of its own, which begin with the global weights, never with a tier."""

    client: ClassVar[type[ClientStrategy]]
    """The other half of the method."""

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from trained_by(use, cls.client)

    def problems(self) -> list[str]:
        return [*super().problems(), *tiers_apart(self.params, "whose steps from the global weights it adds up")]

    def _voices(self, replies: Sequence[Reply]) -> list[float]:
        alike = isinstance(self.params, EqualParams) and not self.params.by_examples
        return [1.0] * len(replies) if alike else super()._voices(replies)


class Remembering(Stepping):
    """Has the mean of values that clients keep, weight by weight over the clients that hold the weight, present or not.

    A client holds what the mask of its last reply keeps; one that has not replied yet holds all, and its values are
    zero. Replies say what values have changed by. State: `holders[architecture]`, how many clients hold each weight, an
    array for each trainable one.
    """

    def initial(self, fed: Federation) -> State:
        holders = {}
        for name, model in self.models.items():
            clients = sum(client.model == name for client in fed.clients)
            holders[name] = [np.array(clients, np.int32) for _ in model.trainable]  # broadcast, until there are masks
        return {**super().initial(fed), "holders": holders}

    def remembered(
        self, state: State, key: str, replies: Sequence[Reply], changes: Callable[[Reply], Arrays]
    ) -> dict[str, dict[str, Arrays]]:
        """Returns what of the state is new after one round's replies: the means, under their key, and the holders.

        Args:
            state: Before them.
            key: Of the means: architecture -> an array for each trainable one.
            replies: Of the round.
            changes: What values of a client have changed by, where it holds weights.
        """
        means, holders = dict(state[key]), dict(state["holders"])
        for name, model in self.models.items():
            of_model = [reply for reply in replies if reply.client.model == name]
            before, counts = holders[name], self._recounted(state, model, holders[name], of_model)
            mean = [_rescaled(*of_array) for of_array in zip(means[name], before, counts, strict=True)]
            shares = [np.maximum(n, 1).astype(np.float32) for n in counts]
            for reply in of_model:
                arrays = zip(mean, changes(reply), shares, strict=True)
                mean = [m + change / n for m, change, n in arrays]
                for number, where, change in self._dropped(state, model, reply):
                    mean[number][where] += change / np.broadcast_to(shares[number], where.shape)[where]
            pairs = zip(mean, counts, strict=True)
            means[name] = [np.where(n > 0, m, np.float32(0)) if n.ndim else m for m, n in pairs]
            holders[name] = counts
        return {key: means, "holders": holders}

    def _last_held(self, state: State, reply: Reply) -> Held:
        """What the client held after its reply before; None for everything."""
        group = self.groups[reply.client.group]
        mask = self._mask(state, reply.client.partition, group)
        return group.compression.held(group.model, mask) if mask else None

    def _recounted(self, state: State, model: ModelSpec, counts: Arrays, replies: Sequence[Reply]) -> Arrays:
        """How many clients hold each weight after a round's replies."""
        counts = list(counts)
        for reply in replies:
            before, now = self._last_held(state, reply) or {}, self._held(reply) or {}
            for number, i in enumerate(model.trainable):
                if i in before or i in now:
                    held = np.ones(model.template[i].shape, bool)
                    counts[number] = counts[number] + now.get(i, held).astype(np.int32) - before.get(i, held)
        return counts

    def _dropped(self, state: State, model: ModelSpec, reply: Reply) -> Iterator[tuple[int, Any, Any]]:
        """Yields of which array, where and by how much values have changed since the client's mask has dropped weights.

        A client that has lost what it kept does not know any more, and says nothing.
        """
        if DROPPED not in reply.payload or str(reply.client.partition) not in state["masks"]:
            return
        places = gone(model, self._last_held(state, reply), self._held(reply))
        (change,), sizes = reply.payload[DROPPED], [int(where.sum()) for where in places.values()]
        if change.size == sum(sizes):
            for (number, where), part in zip(places.items(), np.split(change, np.cumsum(sizes)[:-1]), strict=True):
                yield number, where, part


def _rescaled(mean: NDArray[Any], before: NDArray[Any], now: NDArray[Any]) -> NDArray[Any]:
    """Returns the mean over so many more or fewer clients, whose values are zero."""
    if now is before:
        return mean
    factor = (before / np.maximum(now, 1)).astype(np.float32)
    return np.where(before == now, mean, mean * factor)

"""What strategies share that add up by how much clients move away from the global weights that they begin with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fedcompress.client import ClientStrategy
from fedcompress.strategy import Reply
from strategies.fedavg import FedAvg, FedAvgParams
from strategies.heterofl import tiers_apart, trained_by

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class EqualParams(FedAvgParams):
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

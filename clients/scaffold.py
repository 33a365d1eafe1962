"""scaffold: local training whose steps are corrected for what sets the client apart from the others.

Karimireddy et al. 2020, "SCAFFOLD: Stochastic controlled averaging for federated learning" (ICML), Algorithm 1. A step
is y <- y - eta (g(y) - c_i + c), with the server's control variate c, which comes with the weights x, and the client's
own c_i, which stays with it. After K steps, by option II, c_i+ = c_i - c + (x - y) / (K eta), and c_i+ - c_i is sent
along. Of a pruned model the weights that the client keeps are corrected and reported; where its mask drops a weight,
its c_i there becomes zero, which is reported as well (`clients/_dropping.py`). A reply that the server does not take
leaves c_i as it was.

Steps have to be small, published 1 / (81 K beta) at most: where the loss curves downwards by more than about
1.3 / (K eta), c_i overshoots, and the differences between clients grow from round to round until the model is lost.

Control variates cross as float32 whatever `[wire] values` says: what they are rounded by would add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from clients import _dropping
from clients._dropping import DROPPED, trainable, within
from clients.sgd import SGD
from fedcompress.client import Content, Result, action
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.objectives import CrossEntropy
from fedcompress.wire.content import Arrays, Payload, weights_content

if TYPE_CHECKING:
    from fedcompress.plugins import Use

CONTROL, CHANGE = "control", "control change"
"""Contents: the server's control variate, and what a client's own has changed by; of each array that is trained."""


@dataclass(frozen=True, eq=False)
class Corrected(CrossEntropy):
    """Cross-entropy plus <correction, w>, which enters through its gradient; the reported loss is the cross-entropy.

    Attributes:
        correction: c - c_i, for each trainable array.
    """

    correction: tuple[Any, ...]

    @property
    def constants(self) -> Arrays:
        return list(self.correction)

    def gradients(self, variables: Sequence[Any], gradients: list[Any], constants: Sequence[Any]) -> list[Any]:
        return [g + c for g, c in zip(gradients, constants, strict=True)]


class Scaffold(SGD):
    """SGD with control variates. State: `control`, the client's own c_i, zeros before its first round; `held`."""

    shared_state: ClassVar[frozenset[str]] = frozenset({CONTROL, _dropping.MASK})

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from aggregated_by(use, "scaffold")
        yield from trained_with(use, "sgd")

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        masked = tuple(model.trainable.index(i) for i in model.prunable)
        control = replace(weights_content(trainable(model, model.template), masked)["weights"], lossless=True)
        return {**super().contents(model), CONTROL: control, CHANGE: control, DROPPED: _dropping.content(model)}

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights, and sends what its control variate has changed by."""
        control = payload[CONTROL]
        own = self.state.get(CONTROL) or [np.zeros_like(c) for c in control]
        objective = Corrected(tuple(c - c_i for c, c_i in zip(control, own, strict=True)))
        trained = self.trainer.fit(payload["weights"], self.data, objective, masks=payload.get("mask"))
        moved = [x - y for x, y in zip(payload["weights"], trained.latent, strict=True)]
        rate = np.float32(trained.steps * self.trainer.learning_rate)
        change = [m / rate - c for m, c in zip(trainable(self.model, moved), control, strict=True)]
        held = self.compression.held(self.model, trained.masks) if trained.masks else None
        change = within(self.model, change, held)
        dropped = _dropping.dropped(self.model, self.compression, self.state, own, trained.masks)
        self.state[CONTROL] = within(self.model, [c_i + d for c_i, d in zip(own, change, strict=True)], held)
        result = self._sent(trained)
        said = {DROPPED: [-values for values in dropped]} if dropped else {}
        return Result({**result.payload, CHANGE: change, **said}, result.metrics)


def aggregated_by(use: Use, strategy: str) -> Iterable[str]:
    """Yields that the scenario's server strategy is not the one whose clients these are; a sentence."""
    assert use.group is not None
    lineage = {kind.__module__.rpartition(".")[2] for kind in use.strategy.__mro__}
    if strategy not in lineage:
        yield (
            f"groups.{use.group.settings.name}.client: {use.name!r} is one half of a method whose server is "
            f'{strategy!r}, received {use.scenario.server.strategy!r}; use server.strategy = "{strategy}", or another '
            "client."
        )


def trained_with(use: Use, *optimizers: str) -> Iterable[str]:
    """Yields that `[training] optimizer` is none of those for which the method is defined; a sentence."""
    if use.scenario.training.optimizer not in optimizers:
        yield (
            f"training.optimizer: received {use.scenario.training.optimizer!r}, but client {use.name!r} goes by the "
            f"sum of its gradients; use {' or '.join(map(repr, optimizers))}."
        )

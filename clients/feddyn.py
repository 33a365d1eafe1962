"""feddyn: local training on a loss that the client adapts, so that its minimum becomes that of all clients.

Acar et al. 2021, "Federated learning based on dynamic regularization" (ICLR), Algorithm 1: a client minimises
L_i(w) - <l_i, w> + (alpha / 2) ||w - x||^2 from the weights x that it receives, and then l_i <- l_i - alpha (w - x),
which is the gradient of L_i where that minimum is reached. l_i stays with the client: nothing crosses but models.

w is what the server decodes, which after rounding, or over a lossy wire, is not what was trained: both ends add up the
same. Of a pruned model l_i becomes zero where the client's mask drops a weight, and what it was is said
(`clients/_dropping.py`). A reply that the server does not take leaves l_i as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from clients import _dropping
from clients._dropping import DROPPED, trainable, within
from clients.scaffold import aggregated_by
from clients.sgd import SGD
from fedcompress.client import Content, Result, action
from fedcompress.compression.base import Params
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.objectives import Proximal
from fedcompress.wire.content import Arrays, Payload

if TYPE_CHECKING:
    from fedcompress.plugins import Use

GRADIENT = "gradient"
"""What the client keeps: l_i, an array for each trainable one."""


class FedDynParams(Params):
    """Parameters of FedDyn's clients."""

    alpha: float = Field(
        0.01, gt=0.0, description="strength of the regulariser; 0.01 is that of the authors' code, the paper tunes it"
    )


@dataclass(frozen=True, eq=False)
class Dynamic(Proximal):
    """The same with -<gradient, w>, through its gradient.

    Attributes:
        gradient: l_i.
    """

    gradient: tuple[Any, ...]

    @property
    def constants(self) -> Arrays:
        return [*super().constants, *self.gradient]

    def gradients(self, variables: Sequence[Any], gradients: list[Any], constants: Sequence[Any]) -> list[Any]:
        anchored, own = constants[: 1 + len(variables)], constants[1 + len(variables) :]
        return [g - l_i for g, l_i in zip(super().gradients(variables, gradients, anchored), own, strict=True)]


class FedDyn(SGD):
    """SGD with a dynamic regulariser. State: `gradient`, and `held`."""

    Params = FedDynParams
    params: FedDynParams
    shared_state: ClassVar[frozenset[str]] = frozenset({GRADIENT, _dropping.MASK})
    _start: Arrays | None = None
    """What an action has trained from."""

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from aggregated_by(use, "feddyn")

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        return {**super().contents(model), DROPPED: _dropping.content(model)}

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights; `settle` then adapts its loss."""
        start, alpha = trainable(self.model, payload["weights"]), np.float32(self.params.alpha)
        own = self.state.setdefault(GRADIENT, [np.zeros_like(x) for x in start])
        objective = Dynamic(self.params.alpha, tuple(start), tuple(own))
        trained = self.trainer.fit(payload["weights"], self.data, objective, masks=payload.get("mask"))
        dropped = _dropping.dropped(self.model, self.compression, self.state, own, trained.masks)
        self._start = start
        result = self._sent(trained)
        said = {DROPPED: [values / alpha for values in dropped]} if dropped else {}
        return Result({**result.payload, **said}, result.metrics)

    def settle(self, sent: Payload) -> None:
        """Goes by what the server decodes of what it has trained."""
        if self._start is None:
            return
        alpha, masks = np.float32(self.params.alpha), sent.get("mask")
        held = self.compression.held(self.model, masks) if masks else None
        arrays = zip(self.state[GRADIENT], trainable(self.model, sent["weights"]), self._start, strict=True)
        self.state[GRADIENT] = within(self.model, [l_i - alpha * (w - x) for l_i, w, x in arrays], held)

"""heterofl: a client that trains a slice of the global model's channels.

Diao, Ding & Tarokh 2021, "HeteroFL: Computation and communication efficient federated learning for heterogeneous
clients" (ICLR), section 3. In training a scaler divides what each layer but the head computes by the width, so that
slices of all widths put out about the same, and the whole network needs none. Logits of classes that the client has no
examples of are zero in training, so that nothing is learned about them, and the server is told which classes those are
(content "classes": it says what the client holds).

The published networks normalise behind each scaler (static batch norm), so that a slice alone says the same with or
without it. Here networks do not normalise, and a slice that is deployed has the scaler in its weights (`folded`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clients.sgd import SGD
from fedcompress.client import Content, Result, action
from fedcompress.compression.base import Params
from fedcompress.compression.kinds.slice import Slice
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.walking import adjusted
from fedcompress.training.objectives import Objective, cross_entropy
from fedcompress.wire.content import Arrays, ArraySpec, Payload

if TYPE_CHECKING:
    from fedcompress.plugins import Use

CLASSES = "classes"
"""Content that says which classes a client has examples of, (classes,)."""


class HeteroFLParams(Params):
    """Parameters of HeteroFL's clients; the defaults are the published method."""

    scaler: bool = Field(True, description="divide what layers compute by the width, in training")
    mask_logits: bool = Field(
        True, description="masked cross-entropy: without classes that a client has no examples of"
    )


@dataclass(frozen=True, eq=False)
class SlicedCrossEntropy(Objective):
    """Cross-entropy of a slice whose layers are scaled, with logits of absent classes at zero.

    Attributes:
        factor: On what each layer but the head computes before its activation: 1 / width.
        present: (classes,) 1 for classes that there are examples of, otherwise 0.
    """

    factor: float
    present: NDArray[np.float32]

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.factor

    @property
    def constants(self) -> Arrays:
        return [self.present]

    def outputs(self, model: Any) -> Any:
        return adjusted(model, factor=self.factor)

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        return cross_entropy(model(x, training=True) * constants[0], y)


class HeteroFL(SGD):
    """Trains the channels that its width leaves it."""

    Params = HeteroFLParams
    params: HeteroFLParams

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from of_no_slice(use)

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        return {**model.contents, CLASSES: Content((ArraySpec((model.classes,), "bool"),), lossless=True)}

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains as `sgd` does, and says of which classes."""
        result = super().train(payload, round_number)
        return Result({**result.payload, CLASSES: [self._present()]}, result.metrics)

    def as_run(self, weights: Arrays) -> Arrays:
        return folded(self.model, weights, self._factor)

    def objective(self, start: Arrays) -> Objective:
        return SlicedCrossEntropy(self._factor, self._present().astype(np.float32))

    @property
    def _factor(self) -> float:
        """Of the scaler."""
        assert isinstance(self.compression, Slice)
        return factor_of(self.compression, self.params)

    def _present(self) -> NDArray[np.bool_]:
        """Which classes training is to change: those that the client has examples of."""
        if not self.params.mask_logits:
            return np.ones(self.model.classes, bool)
        return np.bincount(self.data.y, minlength=self.model.classes) > 0


def factor_of(compression: Slice, params: HeteroFLParams) -> float:
    """Returns what the scaler of a group's clients multiplies by: 1 / width."""
    return 1.0 / compression.width if params.scaler else 1.0


def folded(spec: ModelSpec, weights: Arrays, factor: float) -> Arrays:
    """Returns weights that say without a scaler what these say with it: kernels and biases but the head's, scaled."""
    scaled = {i for tied in spec.channels[:-1] for k in tied.kernels for i in (k.position, k.bias)}
    return [w * np.float32(factor) if i in scaled else w for i, w in enumerate(weights)]


def of_no_slice(use: Use) -> Iterable[str]:
    """Yields what is wrong where a client that trains a slice of channels has a compression that gives it none."""
    assert use.group is not None
    settings, compression = use.group.settings, use.group.compression
    if compression is not None and not isinstance(compression, Slice):
        yield (
            f"groups.{settings.name}.compression: client {use.name!r} trains at a width, received "
            f'{settings.compression!r}; use compression = "slice" with compression_params.width.'
        )

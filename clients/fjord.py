"""fjord: a client that trains narrower sub-models inside its own, by ordered dropout.

Horvath et al. 2021, "FjORD: Fair and accurate federated learning under heterogeneous targets with ordered dropout"
(NeurIPS), section 3. Each step draws a width p uniformly from those up to the client's own, p_max, and trains the first
channels of each layer up to p. With self-distillation, which the paper's best results have, a step trains p_max on the
labels as well, and p learns from what p_max says (section 3.3: alpha = T = 1); both gradients go into one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from clients.heterofl import of_no_slice
from clients.sgd import SGD
from fedcompress import keras
from fedcompress.compression.base import Params
from fedcompress.compression.kinds.slice import Slice, prefixes
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.walking import adjusted
from fedcompress.training.objectives import Objective, cross_entropy, kl_divergence
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.plugins import Use

Width = Annotated[float, Field(gt=0.0, le=1.0)]
SAME = 1e-9
"""By how much two ways to write a width may differ."""


class FjORDParams(Params):
    """Parameters of FjORD's clients; the defaults are the published ones, with self-distillation."""

    widths: list[Width] = Field(
        [0.2, 0.4, 0.6, 0.8, 1.0], min_length=1, description="that a step draws from, up to the group's own"
    )
    distil: bool = Field(
        True,
        description="self-distillation: a step trains p_max, the group's own width, too; the drawn one learns from it",
    )
    alpha: float = Field(1.0, ge=0.0, le=1.0, description="weight of what p_max says; the rest is the labels'")
    temperature: float = Field(1.0, gt=0.0, description="T of the distillation")


@dataclass(frozen=True, eq=False)
class OrderedDropout(Objective):
    """CE(y, z_max) + (1 - alpha) CE(y, z_p) + alpha T^2 KL(softmax(z_max / T) || softmax(z_p / T)), p drawn each step.

    z_max are the logits of the client's own width, as a teacher not differentiated. Without distillation it is
    CE(y, z_p).

    Attributes:
        spec: The model.
        widths: That are drawn from.
        distil: Whether p_max teaches.
        alpha: Weight of the teacher, in [0, 1].
        temperature: T > 0.
    """

    spec: ModelSpec
    widths: tuple[float, ...]
    distil: bool
    alpha: float
    temperature: float

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.widths, self.distil

    @property
    def passes(self) -> int:
        """How often a step runs the model, forth and back."""
        return 2 if self.distil else 1

    @property
    def constants(self) -> Arrays:
        """Beside alpha and T, for each set of channels but the head's: (widths, channels), 1 for those a width has."""
        sets = zip(*(prefixes(self.spec, width) for width in self.widths), strict=True)
        coefficients = [np.array(value, np.float32) for value in (self.alpha, self.temperature)]
        return [*coefficients, *(np.array(rows, np.float32) for rows in sets)]

    def per_step(self, steps: int, rng: np.random.Generator) -> Arrays:
        return [rng.integers(len(self.widths), size=steps, dtype=np.int32)]

    def outputs(self, model: Any) -> Any:
        return adjusted(model, masked=True)

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        tf = keras.tf
        alpha, temperature, *channels = constants
        (drawn,) = targets
        logits = model([x, *(rows[drawn][tf.newaxis] for rows in channels)], training=True)
        if not self.distil:
            return cross_entropy(logits, y)
        largest = model([x, *(tf.ones_like(rows[:1]) for rows in channels)], training=True)
        divergence = kl_divergence(tf.stop_gradient(largest) / temperature, logits / temperature)
        own = (1.0 - alpha) * cross_entropy(logits, y) + alpha * temperature**2 * divergence
        return cross_entropy(largest, y) + own


class FjORD(SGD):
    """Trains its slice of the global model so that narrower slices of it work as well."""

    Params = FjORDParams
    params: FjORDParams

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from of_no_slice(use)
        assert use.group is not None
        settings, params, own = use.group.settings, use.group.client_params, use.group.compression
        if params is not None and isinstance(own, Slice) and not any(_same(own.width, w) for w in params.widths):
            received = ", ".join(f"{w:g}" for w in params.widths)
            default = "" if "widths" in params.model_fields_set else ", the default"
            fitting = ", ".join(f"{w:g}" for w in [*(w for w in params.widths if w < own.width), own.width])
            yield (
                f"groups.{settings.name}.params.widths: received {received}{default}; expected the group's own width, "
                f"{own.width:g}, among them; use params.widths = [{fitting}]."
            )

    def objective(self, start: Arrays) -> Objective:
        assert isinstance(self.compression, Slice)
        own, params = self.compression.width, self.params
        widths = tuple(sorted({width for width in params.widths if width < own or _same(width, own)}))
        return OrderedDropout(self.model, widths, params.distil, params.alpha, params.temperature)


def _same(one: float, other: float) -> bool:
    return abs(one - other) < SAME

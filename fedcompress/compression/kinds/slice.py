"""slice: a sub-model of some of the channels, the same fraction of each layer, from the first round on.

What a group holds is known from its width alone: of K channels of a layer ceil(width K), side by side, all inputs and
all classes. Layers whose outputs are added count as one; channels that group normalisation ties are taken as one. The
server strategy says where they begin: `heterofl` and `fjord` with the first, so that slices are nested, `fedrolex` with
another one in each round. What is trained is the network of full size under structured masks, what is deployed and
measured is the smaller dense model, which has the same outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedcompress.compression.base import Params
from fedcompress.compression.pruning import Masked
from fedcompress.errors import InputError
from fedcompress.models import channels
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.channels import Kept
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.plugins import Use

ROUNDING = 1e-9
"""What width times channels may be above a whole number because floats are not exact."""


class SliceParams(Params):
    """Parameters of slices."""

    width: float = Field(gt=0.0, le=1.0, description="fraction of each layer's channels that a sub-model has")


class Slice(Masked):
    """A window of channels, as masks that the server hands out; all of them at width 1.

    Its sparsity is the fraction of the channels that a sub-model does not have.
    """

    Params = SliceParams
    params: SliceParams

    def __init__(self, params: SliceParams, *, sparsity: float, rounds: int, bits: int = 32) -> None:
        super().__init__(params, sparsity=1.0 - params.width, rounds=rounds, bits=bits)

    @property
    def width(self) -> float:
        """Fraction of each layer's channels, in (0, 1]."""
        return self.params.width

    @property
    def chooser(self) -> Literal["client", "server"] | None:
        return "server" if self.width < 1 else None

    def target(self, round_number: int) -> float:
        return self.sparsity

    def frozen(self, round_number: int) -> bool:
        return True

    def choose(
        self,
        weights: Arrays,
        spec: ModelSpec,
        round_number: int,
        rng: np.random.Generator,
        memory: Mapping[str, Any] | None = None,
    ) -> Arrays:
        return self.window(spec, 0)

    def window(self, spec: ModelSpec, first: int) -> Arrays:
        """Returns the masks of the channels from `first` on, each layer's taken as a ring; none at width 1."""
        if self.width == 1:
            return []
        return channels.masks_of(spec, _windows(spec, self.width, first))

    def held(self, spec: ModelSpec, masks: Arrays) -> dict[int, NDArray[np.bool_]]:
        return channels.held(spec, masks)

    def deployed(self, spec: ModelSpec, weights: Arrays) -> tuple[ModelSpec, Arrays]:
        return channels.shrunk(spec, weights) if self.width < 1 else (spec, weights)

    def problems_in(self, use: Use) -> Iterable[str]:
        assert use.group is not None
        settings = use.group.settings
        if settings.sparsity > 0:
            yield (
                f"groups.{settings.name}.sparsity: received {settings.sparsity:g}, but compression {use.name!r} goes "
                "by its width; leave sparsity out."
            )
        else:
            yield from super().problems_in(use)

    def check(self, spec: ModelSpec) -> None:
        """Looks at a model before the run.

        Raises:
            InputError: Its channels cannot be followed, or it keeps statistics, which sub-models of other widths would
                need of their own.
        """
        spec.channels  # noqa: B018  says what is in the way
        if "statistic" in spec.kinds:
            raise InputError(
                f"model {spec.name!r}: has batch normalisation, whose moving statistics sub-models of different widths "
                "cannot share; use a model without."
            )


def prefixes(spec: ModelSpec, width: float) -> Kept:
    """Returns the first ceil(width K) of the K channels of each layer but the head."""
    return _windows(spec, width, 0)


def _windows(spec: ModelSpec, width: float, first: int) -> Kept:
    """Returns a window of each set of channels but the head's, all beginning at the same unit."""
    return [np.repeat(_ring(tied.units, width, first), tied.unit) for tied in spec.channels[:-1]]


def _ring(size: int, width: float, first: int) -> NDArray[np.bool_]:
    """Which of `size` channels are in a window that begins with `first`, and goes on at channel 0 where it ends."""
    kept = np.zeros(size, bool)
    kept[(first + np.arange(ceil(width * size - ROUNDING))) % size] = True
    return kept

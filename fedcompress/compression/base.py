"""Interface of a compression: what training does to the weights. One subclass per file in `compression/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays


class Params(BaseModel):
    """Base of all parameter classes: frozen, unknown keys and values of another type refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Wrapping:
    """What a compression adds to a model inside the compiled training graph; this one adds nothing.

    One wrapping belongs to one model. Everything that differs between clients and rounds goes in through `begin`,
    so that one graph serves them all.
    """

    def wrap(self, model: Any) -> Any:
        """Returns the model that is trained; it shares the variables of `model`."""
        return model

    def begin(self, inputs: Sequence[Any]) -> None:
        """Runs in the graph before the first step, on tensors of what `Compression.inputs` returned."""

    def finish(self) -> None:
        """Runs in the graph after the last step."""

    def masks(self) -> Sequence[Any]:
        """Returns the mask variables, in the order of the prunable weights."""
        return []


class Compression(ABC):
    """How the models of one group are compressed, round by round.

    Args:
        params: Validated from `[groups.compression_params]`.
        sparsity: The group's final sparsity, a fraction of zeros in [0, 1).
        rounds: Rounds of the run.
    """

    Params: ClassVar[type[BaseModel]] = Params

    def __init__(self, params: Any, *, sparsity: float, rounds: int) -> None:
        self.params = params
        self.sparsity = sparsity
        self.rounds = rounds

    @property
    def chooser(self) -> Literal["client", "server"] | None:
        """Who chooses the masks; None if there are none."""
        return None

    def target(self, round_number: int) -> float:
        """Returns the sparsity asked in a round."""
        return 0.0

    def counts(self, weights: Arrays, spec: ModelSpec, round_number: int) -> list[int]:
        """Returns how many weights of each prunable tensor survive in a round that starts from `weights`."""
        return [weights[i].size for i in spec.prunable]

    def frozen(self, round_number: int) -> bool:
        """Says whether masks no longer change in a round."""
        return False

    @abstractmethod
    def wrapping(self) -> Wrapping:
        """Returns what is added to a new model before its training graph is compiled."""

    def inputs(self, spec: ModelSpec, round_number: int, masks: Arrays | None, counts: Sequence[int]) -> list[Any]:
        """Returns the arrays for `Wrapping.begin`.

        Args:
            spec: The model.
            round_number: From 1.
            masks: Given masks, which training then keeps; None to let the compression choose them.
            counts: How many weights of each prunable tensor survive, if it chooses.
        """
        return []

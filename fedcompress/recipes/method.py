"""Interface of a method: how a model is compressed outside a federation. One subclass per file in `methods/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from fedcompress.compression.base import Params
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays

if TYPE_CHECKING:
    from fedcompress.recipes.bench import Bench

__all__ = ["Method", "Outcome", "Params"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A model that a method hands over; it is measured, saved, and becomes a row of the table.

    Attributes:
        weights: As a device gets them: masked, rounded.
        spec: The model, if it is not the experiment's own.
        step: Which of the method's outcomes this is, such as "sparsity 0.3"; empty where there is only one.
        bits: Bits of a weight.
        figures: Further numbers, a column each; one named as a column of the table takes its place.
        layers: Name of a layer -> the part of it that was taken out, where the model no longer shows it.
        network: Builds the Keras model as a device computes, where that is more than the weights: rounded activations.
        tflite: The model is this TFLite file, of which `weights` are the origin.
    """

    weights: Arrays
    spec: ModelSpec | None = None
    step: str = ""
    bits: int = 32
    figures: Mapping[str, float | str] = field(default_factory=dict)
    layers: Mapping[str, float] = field(default_factory=dict)
    network: Callable[[], Any] | None = None
    tflite: bytes | None = None


class Method(ABC):
    """One way to compress a model.

    Args:
        params: Validated from the experiment's `params`.
    """

    Params: ClassVar[type[BaseModel]] = Params

    layers: ClassVar[frozenset[str] | None] = None
    """Keras' names of the layers with weights that it can work on, None for any. Normalisation is left as it is."""

    def __init__(self, params: Any) -> None:
        self.params = params

    def problems(self, bench: Bench) -> Iterable[str]:
        """Returns why it cannot do its work on this model and data; asked before anything is trained."""
        return ()

    @abstractmethod
    def run(self, bench: Bench) -> Iterator[Outcome]:
        """Trains and compresses; yields each model that is worth a row, as soon as there is one."""

"""keras: a network of tf_keras.applications with new weights, as "keras:MobileNetV3Small". Nothing is downloaded.

What computes with counters is refused before the run; images have to be as large as the network asks.
"""

from __future__ import annotations

from inspect import isfunction
from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.errors import InputError, suggestion
from fedcompress.models.architecture import Architecture


class Application(Architecture):
    """The network without its head, its last map averaged.

    Args:
        argument: Name of the function in tf_keras.applications that makes it.
    """

    argument_name: ClassVar[str] = "NAME"

    def __init__(self, argument: str = "") -> None:
        known = sorted(name for name, item in vars(keras.applications).items() if isfunction(item))
        if argument not in known:
            raise InputError(
                f"model 'keras:{argument}': unknown network of tf_keras.applications.{suggestion(argument, known)}"
            )
        self._name = argument

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self._name

    def features(self, inputs: Any) -> Any:
        make = getattr(keras.applications, self._name)
        return make(include_top=False, weights=None, input_tensor=inputs, pooling="avg").output

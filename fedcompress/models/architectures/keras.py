"""keras: a network of tf_keras.applications with new weights, as "keras:MobileNetV3Small". Nothing is downloaded.

Networks see images in [0, 1], as every model here: what some do to images of 0 to 255 themselves is left out, and
EfficientNetB0 to B7, which always do it, are refused. Images have to be as large as the network asks.
"""

from __future__ import annotations

from inspect import isfunction, signature
from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.errors import InputError, suggestion
from fedcompress.models.architecture import Architecture

_DIVIDE = "EfficientNetB"
"""What the names of networks begin with that divide their inputs by 255, whatever is asked of them."""


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
        if argument.startswith(_DIVIDE):
            raise InputError(
                f"model 'keras:{argument}': divides its inputs by 255, which are in [0, 1] here; expected another "
                "network, such as keras:EfficientNetV2B0."
            )
        self._name = argument

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self._name

    def features(self, inputs: Any) -> Any:
        make = getattr(keras.applications, self._name)
        plain = {"include_preprocessing": False} if "include_preprocessing" in signature(make).parameters else {}
        return make(include_top=False, weights=None, input_tensor=inputs, pooling="avg", **plain).output

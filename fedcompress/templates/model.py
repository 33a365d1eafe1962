"""template-name: one line that `fedcompress list models` shows. If it is a paper's network, cite the paper here.

A model turns inputs into features; the core adds the classifier, with an output for each class of the data. Images come
as values in [0, 1] of shape (height, width, channels), tables as (features,). Keras is `tf_keras`; there is one door to
it, `fedcompress.keras`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class TemplateName(Architecture):
    """One hidden layer: `template-name`, or `template-name:UNITS`.

    Args:
        argument: What stands behind the colon.
    """

    argument_name: ClassVar[str] = "UNITS"  # leave it out, with __init__ and key, if there is nothing to choose

    def __init__(self, argument: str = "64") -> None:
        self.units = int(argument)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells two networks of this class apart."""
        return type(self), self.units

    def features(self, inputs: Any) -> Any:
        """Returns the features, (n, width), given the inputs as a Keras tensor."""
        flat = keras.layers.Flatten()(inputs)
        return keras.layers.Dense(self.units, activation="relu", name="hidden")(flat)

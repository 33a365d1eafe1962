"""mlp: a multilayer perceptron; "mlp:512-256" has hidden layers of 512 and 256 units."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models.architecture import Architecture


class MLP(Architecture):
    """Dense layers, by default of 100, 50 and 20 units: 84,780 parameters on 28x28x1 with 10 classes.

    Args:
        argument: Units of the hidden layers, from the input on, as in "100-50-20".
    """

    argument_name: ClassVar[str] = "UNITS-UNITS-..."

    def __init__(self, argument: str = "100-50-20") -> None:
        if not re.fullmatch(r"[1-9]\d{0,4}(-[1-9]\d{0,4})*", argument):
            raise InputError(f"model 'mlp:{argument}': expected the units of its hidden layers, as in 'mlp:100-50-20'.")
        self.units = tuple(map(int, argument.split("-")))

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.units

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Flatten()(inputs)
        for units in self.units:
            x = keras.layers.Dense(units, activation="relu")(x)
        return x

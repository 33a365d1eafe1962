"""mlp: a multilayer perceptron; "mlp:512-256" has hidden layers of 512 and 256 units, "mlp:512-256:0.1" dropout too."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models.architecture import Architecture


class MLP(Architecture):
    """Dense layers with ReLU, by default of 100, 50 and 20 units.

    Those have 84,780 parameters and 20 features on 28x28x1 with 10 classes.

    Args:
        argument: Units of the hidden layers, from the input on, as in "100-50-20"; after a colon, if there is to be
            dropout, the fraction in [0, 1) of each hidden layer's outputs that a training step leaves out, as in
            "100-50-20:0.1".
    """

    argument_name: ClassVar[str] = "UNITS-UNITS-...[:DROPOUT]"

    def __init__(self, argument: str = "100-50-20") -> None:
        match = re.fullmatch(r"(?P<units>[1-9]\d{0,4}(-[1-9]\d{0,4})*)(:(?P<dropout>0(\.\d{1,9})?))?", argument)
        if match is None:
            raise InputError(
                f"model 'mlp:{argument}': expected the units of its hidden layers, as in 'mlp:100-50-20', and perhaps "
                "a fraction below 1 for dropout, as in 'mlp:100-50-20:0.1'."
            )
        self.units = tuple(map(int, match["units"].split("-")))
        self.dropout = float(match["dropout"] or 0)

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.units, self.dropout

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Flatten()(inputs)
        for units in self.units:
            x = keras.layers.Dense(units, activation="relu")(x)
            if self.dropout:
                x = keras.layers.Dropout(self.dropout)(x)
        return x

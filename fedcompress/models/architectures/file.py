"""file: a model that tf_keras has saved, with its weights: "file:PATH" with .keras or .h5 at the end.

It ends in a Dense layer with an output for each class. Layers that were saved with `trainable = False` stay as they
are, and their weights cross once: a backbone that was trained before, and a head that is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fedcompress.errors import InputError
from fedcompress.files import is_file
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.saved import SUFFIXES, StartingModel

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class File(Architecture):
    """A model as a whole, known by what its file holds.

    Args:
        argument: Path of the file, from the current folder on; every machine of a deployment has it there.
    """

    argument_name: ClassVar[str] = "PATH"

    def __init__(self, argument: str = "") -> None:
        self._path = Path(argument).expanduser()
        if not argument.endswith(SUFFIXES) or not is_file(self._path):
            reason = "there is no such file" if argument.endswith(SUFFIXES) else "its name ends in something else"
            raise InputError(
                f"model 'file:{argument}': {reason}; expected file:PATH of a {' or '.join(SUFFIXES)} file."
            )

    def problems_in(self, use: Use) -> Iterable[str]:
        if use.scenario.data.normalise != "none":
            yield (
                f"data.normalise: received {use.scenario.data.normalise!r}, but model {use.name!r} is used as it was "
                'saved; normalise inside of it, by a layer Rescaling, and use "none".'
            )

    def spec(self, name: str, input_shape: Sequence[int], classes: int) -> ModelSpec:
        return StartingModel(self._path, input_shape, classes, name)

    def features(self, inputs: Any) -> Any:
        raise InputError(f"model 'file:{self._path}': is used as a whole, not as features for another head.")

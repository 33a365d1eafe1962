"""What experiments are about: a data set, divided for one seed, and models by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.dataset import Dataset
from fedcompress.data.federated import Examples
from fedcompress.data.splits import holdout
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.saved import SUFFIXES, SavedModel
from fedcompress.plugins import Plugins
from fedcompress.recipes.recipe import RecipeData


@dataclass(frozen=True, eq=False)
class Split:
    """The data of one seed. Choices are made by `validation`; `test` is only ever reported.

    Of what is `unlabelled`, inputs (n, *input_shape) alone, no label is here for anything to read.
    """

    train: Examples
    validation: Examples
    test: Examples
    unlabelled: NDArray[Any]


def named_model(name: str, dataset: Dataset, plugins: Plugins) -> ModelSpec:
    """Returns a model for a data set, by the name of its architecture or of a Keras file.

    Raises:
        InputError: There is none, or it does not fit the data.
    """
    shape, classes = dataset.x_train.shape[1:], dataset.classes
    if name.endswith(SUFFIXES):
        spec: ModelSpec = SavedModel(Path(name), shape, classes)
    else:
        spec = ModelSpec(name, plugins.architecture(name), shape, classes)
    spec.check(dataset.name)
    return spec


def split(dataset: Dataset, settings: RecipeData, rng: Callable[[str], np.random.Generator]) -> Split:
    """Divides a data set.

    Args:
        dataset: The data set.
        settings: How many examples there are of what.
        rng: Makes the generator for a purpose.

    Raises:
        InputError: There are not as many training examples as are asked for.
    """
    x, y = dataset.x_train, dataset.y_train
    rest, held_out = holdout(y, settings.validation, rng("validation"))
    if settings.examples is not None:
        if settings.examples > len(rest):
            raise InputError(f"data.examples: received {settings.examples}; there are {len(rest)} to train on.")
        rest = rest[holdout(y[rest], 1 - settings.examples / len(rest), rng("examples"))[0]]
    train, validation = Examples(x[rest], y[rest]), Examples(x[held_out], y[held_out])
    others = np.setdiff1d(np.arange(len(x)), np.concatenate([rest, held_out]))
    if settings.unlabelled > len(others):
        raise InputError(
            f"data.unlabelled: received {settings.unlabelled}; {len(others)} training examples are left beside those "
            "that are learned from and validated on; use fewer data.examples, say."
        )
    chosen = np.sort(rng("unlabelled").choice(others, settings.unlabelled, replace=False))
    return Split(train, validation, Examples(dataset.x_test, dataset.y_test), x[chosen])

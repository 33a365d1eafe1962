"""Inputs of models, normalised by what the data are like: a layer of the model, so that devices get it, too."""

from __future__ import annotations

from typing import Any

from fedcompress import keras
from fedcompress.data.dataset import Dataset, Statistics
from fedcompress.errors import InputError
from fedcompress.models.architecture import Architecture


def statistics_of(dataset: Dataset, which: str) -> Statistics:
    """Returns what a data set's inputs are like.

    Args:
        dataset: The data set.
        which: "train": its own training inputs; "published": as literature has it.

    Raises:
        InputError: Nothing is published.
    """
    if which == "train":
        return dataset.statistics
    if dataset.published is None:
        raise InputError(
            f'data.normalise: received "published", but nothing is published for {dataset.name!r}; use "train".'
        )
    return dataset.published


class OfInputs(Architecture):
    """An architecture behind inputs of mean 0 and standard deviation 1 in each channel.

    Args:
        architecture: What sees them.
        statistics: Of the inputs as they come; a channel that never changes is only shifted.
    """

    def __init__(self, architecture: Architecture, statistics: Statistics) -> None:
        self._architecture, self._statistics = architecture, statistics

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self._statistics, *self._architecture.key

    def features(self, inputs: Any) -> Any:
        scales = [1.0 / deviation if deviation > 0 else 1.0 for deviation in self._statistics.deviations]
        offsets = [-mean * scale for mean, scale in zip(self._statistics.means, scales, strict=True)]
        return self._architecture.features(keras.layers.Rescaling(scales, offsets)(inputs))

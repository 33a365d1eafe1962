"""What is unusual about a user's own data: said, since a model learns badly from it and no error says why."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..units import counted, cut_list
from .dataset import Dataset

MOST_IN_UNIT = 2.0
"""Beyond this, images are not in [0, 1], nor scaled to it with noise."""
MOST_RATIO, LARGEST = 100.0, 100.0
"""Of features' deviations, the largest to the smallest; and of a value."""

MOST_FAINT = 64
"""Below this, whole numbers are hardly a scale of 256 steps."""


def notices(dataset: Dataset, normalise: str) -> Iterator[str]:
    """Yields a sentence for each thing that the user should look at.

    Args:
        dataset: The data.
        normalise: `[data] normalise`.
    """
    x = dataset.x_train
    if untaught := np.setdiff1d(dataset.y_test, dataset.y_train).tolist():
        yield (
            f"Data set {dataset.name!r}: the test set has {counted(len(untaught), 'class', 'classes')} without a "
            f"training example ({cut_list(untaught)}, counted from 0), which no model learns; look at its labels."
        )
    if x.ndim == 4 and x.shape[1] in (1, 3, 4) and x.shape[1] < min(x.shape[2:]):
        yield (
            f"Data set {dataset.name!r}: examples have the shape {x.shape[1:]}, so channels seem to come first; models "
            "here expect (height, width, channels): np.moveaxis(x, 1, -1)."
        )
    if normalise != "none":
        return
    if x.dtype == np.uint8:
        if 0 < (brightest := int(x.max())) < MOST_FAINT:
            yield (
                f"Data set {dataset.name!r}: pixels are whole numbers up to {brightest}, which models see as up to "
                f'{brightest / 255:.2g}; scale them to 0..255, or use data.normalise = "train".'
            )
        return
    largest = float(max(x.max(), -x.min()))
    if x.ndim == 4:
        if largest > MOST_IN_UNIT:
            yield (
                f"Data set {dataset.name!r}: images are floats from {x.min():g} to {x.max():g}, which models see as "
                'they are; save them as uint8 (0..255), divide them by 255, or use data.normalise = "train".'
            )
        return
    deviations = x.std(axis=0, dtype=np.float64)
    varying = deviations[deviations > 0]
    if largest > LARGEST or (len(varying) and varying.max() > MOST_RATIO * varying.min()):
        yield (
            f"Data set {dataset.name!r}: features are not of one scale (values to {largest:.3g}, deviations from "
            f'{varying.min(initial=np.inf):.2g} to {varying.max(initial=0):.2g}); use data.normalise = "train".'
        )

"""What the models of a run take and give: said beside them in `models/models.json`, and done to inputs from elsewhere.

Training sees images of uint8 divided by 255, and other data as they are; so do the models that are exported, which
could not be trained further otherwise. Whoever runs one has to do the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.dataset import Dataset
from fedcompress.errors import InputError
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.runs import RunResult

FILE = "models.json"


class Exported(TypedDict):
    """A model in `models.json`.

    Attributes:
        files: Of the model, in the same folder.
        model: Name of its architecture.
        inputs: What it takes, in words.
        shape: Of one example.
        divided_by: What numbers of the data set are divided by before the model sees them: 255 or 1.
        outputs: What it gives, in words.
        labels: Label in the data set for each output, where some of its classes were chosen; null for all of them.
    """

    files: list[str]
    model: str
    inputs: str
    shape: list[int]
    divided_by: int
    outputs: str
    labels: list[int] | None


def said(model: str, files: list[str], dataset: Dataset, labels: tuple[int, ...] | None) -> Exported:
    """Returns what is to be known of a model that has learned a data set."""
    shape = list(dataset.x_train.shape[1:])
    images = dataset.x_train.dtype == np.uint8
    dimensions = ", ".join(map(str, ["n", *shape]))
    numbers = "images of numbers 0 to 255, divided by 255" if images else "as they are in the data set"
    return {
        "files": files,
        "model": model,
        "inputs": f"float32 ({dimensions}), {numbers}",
        "shape": shape,
        "divided_by": 255 if images else 1,
        "outputs": f"logits (n, {dataset.classes})",
        "labels": None if labels is None else list(labels),
    }


def inputs_of(run: RunResult, group: str) -> Exported | None:
    """Returns what is said of a group's model; None of a run made before that was written down."""
    folder = run.path / "models"
    if not (folder / FILE).exists():
        return None
    return cast(Exported | None, RunDirectory(folder).read_json(FILE).get(group))


def as_trained(x: NDArray[Any], shape: tuple[int, ...], model: Exported | None) -> NDArray[np.float32]:
    """Returns examples as a model saw them in training.

    Args:
        x: (n, ...) as the data set has them, or images as floats from 0 to 1.
        shape: Of one example, as the model takes it.
        model: What is said of it; None: uint8 is an image.

    Raises:
        InputError: They are of another shape, are no numbers, or images whose scale is not known.
    """
    expected = f"({', '.join(map(str, ['n', *shape]))})"
    if x.shape[1:] != shape:
        raise InputError(f"predict: received inputs of shape {x.shape}; expected {expected}, a row for each example.")
    if x.dtype.kind not in "buif":
        raise InputError(f"predict: received inputs of {x.dtype}; expected numbers.")
    images = x.dtype == np.uint8 if model is None else model["divided_by"] != 1
    if images and x.dtype == np.uint8:
        return (x / np.float32(255)).astype(np.float32)
    if images and len(x) and (x.max() > 1 or x.min() < 0):
        raise InputError(
            f"predict: received images of {x.dtype} from {x.min():g} to {x.max():g}; expected uint8 from 0 to 255, or "
            "floats from 0 to 1."
        )
    return x.astype(np.float32, copy=False)


def write(folder: Path, models: dict[str, Exported]) -> None:
    """Writes `models.json`, if there is a model."""
    if models:
        RunDirectory(folder).write_json(FILE, models)

"""Inputs that a model normalises: by hand, in a federation on files of each data set, and on to TFLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.data.dataset import CIFAR10, Dataset, Statistics
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.models.inputs import statistics_of
from fedcompress.scenario import Scenario
from tests.data.test_people import as_binary, cifar, leaf
from tests.federating import run


def test_statistics_by_hand() -> None:
    """A channel of 0, 0, 255, 255: mean and deviation 1/2; one that is always 51: 1/5 and 0."""
    x = np.zeros((2, 2, 1, 2), np.uint8)
    x[1, :, :, 0], x[..., 1] = 255, 51
    dataset = Dataset("x", x, np.arange(2), x, np.arange(2), 2)
    assert dataset.statistics == Statistics((0.5, pytest.approx(0.2)), (0.5, 0.0))
    with pytest.raises(InputError, match=r'data.normalise: received "published", but nothing is published for \'x\''):
        statistics_of(dataset, "published")
    assert statistics_of(Dataset("x", x, np.arange(2), x, np.arange(2), 2, None, CIFAR10), "published") == CIFAR10


def table(dataset: str, **data: Any) -> Scenario:
    return Scenario.parse(
        {
            "name": "people",
            "rounds": 1,
            "data": {"dataset": dataset, "server_validation": 0.0, "validation": 0.0, "minimum": 1, **data},
            "training": {"batch_size": 2, "optimizer": "sgd"},
            "evaluation": {"tflite": False},
            "groups": [{"name": "all", "model": "mini-cnn"}],
        }
    )


def test_a_federation_on_femnist_by_writer(tmp_path: Path) -> None:
    leaf(tmp_path / "femnist")
    scenario = table("femnist", clients=2, partition="natural", normalise="train")
    made = Experiment.load(scenario, data_dir=tmp_path)
    made.check_models()
    assert [len(made.data.train_parts[client]) for client in range(2)] == [2, 1]
    summary, directory, _ = run(made, tmp_path / "run")
    assert 0 <= summary["accuracy"] <= 1
    model = made.models["mini-cnn"].build()
    assert [type(layer).__name__ for layer in model.layers[:3]] == ["InputLayer", "Rescaling", "Conv2D"]
    x = made.data.dataset.x_train / np.float32(255)
    normalised = keras.Model(model.input, model.layers[1].output)(x).numpy()
    assert (abs(normalised.mean()) < 1e-4, abs(normalised.std() - 1) < 1e-4) == (True, True)
    assert directory.path.is_dir()


def test_a_federation_on_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar-100-binary").mkdir()
    for name, part in cifar(monkeypatch).items():
        (tmp_path / "cifar-100-binary" / f"{name}.bin").write_bytes(as_binary(*part))
    made = Experiment.load(table("cifar100", clients=2, normalise="published"), data_dir=tmp_path)
    made.check_models()
    summary, *_ = run(made, tmp_path / "run")
    assert 0 <= summary["accuracy"] <= 1

"""Every technique on residual networks, MobileNetV2, a network of Keras and a saved file: few steps on tiny inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression import masks as masking
from fedcompress.compression import tflite
from fedcompress.compression.kinds.channel import Channel, ChannelParams
from fedcompress.compression.kinds.cluster import Cluster, ClusterParams
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.kinds.quantise import Quantise, QuantiseParams
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.file import File
from fedcompress.plugins import Plugins
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.trainer import Trainer, predict

SHAPE = (8, 8, 3)
DATA = Examples(np.random.default_rng(0).integers(0, 256, (8, *SHAPE), np.uint8), np.arange(8, dtype=np.int32) % 4)
NOW: dict[str, Any] = {"schedule": "constant", "begin_round": 0}
KINDS = {
    "magnitude": lambda: Magnitude(MagnitudeParams(**NOW), sparsity=0.5, rounds=1),
    "channel": lambda: Channel(ChannelParams(**NOW, count="channels"), sparsity=0.5, rounds=1),
    "quantise": lambda: Quantise(QuantiseParams(**NOW), sparsity=0.0, rounds=1, bits=4),
    "cluster": lambda: Cluster(ClusterParams(**NOW, clusters=8), sparsity=0.0, rounds=1),
}
QUICK = ("resnet-8:batch", "resnet-8:group", "file")
LARGE = ("resnet-18:batch", "resnet-18:group", "mobilenet-v2:0.35", "mobilenet-v2:0.35:batch", "keras:MobileNetV2")


def spec_of(name: str, folder: Path) -> ModelSpec:
    if name != "file":
        return ModelSpec(name, Plugins().architecture(name), SHAPE, 4)
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.Add()([x, keras.layers.DepthwiseConv2D(3, padding="same")(x)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(inputs, keras.layers.Dense(4)(x)).save(folder / "mine.keras")
    return File(f"{folder}/mine.keras").spec("file", SHAPE, 4)


def check(name: str, kind: str, folder: Path) -> None:
    spec, compression = spec_of(name, folder), KINDS[kind]()
    compression.check(spec)
    start, rng = spec.initial(np.random.default_rng(1)), np.random.default_rng(2)
    masks = compression.choose(start, spec, 1, rng) if compression.chooser == "server" else None
    settings = TrainingSettings(batch_size=4, learning_rate=1e-3)
    trained = Trainer(spec, compression, settings, 1, lambda _: np.random.default_rng(3)).fit(start, DATA, masks=masks)
    assert all(np.isfinite(w).all() for w in trained.weights)
    moved = [i for i in spec.trainable if not np.array_equal(trained.weights[i], start[i])]
    assert spec.head[0] in moved
    kernels = [trained.weights[i] for i in spec.prunable]
    if kind == "magnitude":
        assert masking.sparsity(trained.weights, spec.prunable) == pytest.approx(0.5, abs=0.01)
    if kind == "quantise":
        assert max(len(np.unique(k)) for k in kernels) <= 15
    if kind == "cluster":
        assert max(len(np.unique(k)) for k in kernels) <= 8
    small, weights = compression.deployed(spec, trained.weights)
    x = DATA.x.astype(np.float32) / 255
    expected = predict(spec, trained.weights, x)
    model = small.build()
    model.set_weights(weights)
    scale = max(1.0, float(np.abs(expected).max()))
    if kind == "channel":
        assert small.parameters < 0.6 * spec.parameters
        np.testing.assert_allclose(predict(small, weights, x), expected, atol=1e-5 * scale)
    file = tflite.convert(model)
    assert tflite.operations(file) == "builtin"
    np.testing.assert_allclose(tflite.predict(file, x), expected, atol=1e-4 * scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", QUICK)
def test_techniques(name: str, kind: str, tmp_path: Path) -> None:
    check(name, kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LARGE)
def test_techniques_on_larger_networks(name: str, kind: str, tmp_path: Path) -> None:
    check(name, kind, tmp_path)

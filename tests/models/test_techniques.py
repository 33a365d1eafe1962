"""Every technique on residual networks, MobileNetV2, networks of Keras and a saved file: few steps on tiny inputs.

What `docs/how-to/model.md` has as a table, line by line.
"""

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
from fedcompress.compression.pruning import resting
from fedcompress.data.federated import Examples
from fedcompress.distillation.projector import projected
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.file import File
from fedcompress.plugins import Plugins
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.objectives import Distillation, FeatureMatching, kl_divergence
from fedcompress.training.trainer import Trainer, predict
from fedcompress.wire.codec import Encoding, encode, read
from fedcompress.wire.shipped import SHIPPED

SHAPE, OF_KERAS = (8, 8, 3), (32, 32, 3)
"""Of examples; networks of Keras take no smaller ones than the second."""
NOW: dict[str, Any] = {"schedule": "constant", "begin_round": 0}
KINDS = {
    "magnitude": lambda: Magnitude(MagnitudeParams(**NOW), sparsity=0.5, rounds=1),
    "channel": lambda: Channel(ChannelParams(**NOW, count="channels"), sparsity=0.5, rounds=1),
    "quantise": lambda: Quantise(QuantiseParams(**NOW), sparsity=0.0, rounds=1, bits=4),
    "cluster": lambda: Cluster(ClusterParams(**NOW, clusters=8), sparsity=0.0, rounds=1),
}
QUICK = ("file",)
LARGE = (
    *("resnet-8:batch", "resnet-8:group", "resnet-18:batch", "resnet-18:group"),
    *("mobilenet-v2:0.35", "mobilenet-v2:0.35:batch", "keras:MobileNet", "keras:MobileNetV2"),
)
ERRORS = {
    "float32": 0.0,
    "float16": 5e-4,
    "int8": 0.02,
    "int4": 0.25,
    "ternary": 0.7,
    "clustered": 0.2,
    "codebooks": 0.2,
}
"""Value type -> what it may lose of a model's learned numbers, Euclidean, as a part of them."""


def data_of(spec: ModelSpec) -> Examples:
    images = np.random.default_rng(0).integers(0, 256, (8, *spec.input_shape), np.uint8)
    return Examples(images, np.arange(8, dtype=np.int32) % 4)


def spec_of(name: str, folder: Path) -> ModelSpec:
    if name != "file":
        return ModelSpec(name, Plugins().architecture(name), OF_KERAS if name.startswith("keras:") else SHAPE, 4)
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.Add()([x, keras.layers.DepthwiseConv2D(3, padding="same")(x)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(inputs, keras.layers.Dense(4)(x)).save(folder / "mine.keras")
    return File(f"{folder}/mine.keras").spec("file", SHAPE, 4)


def check(name: str, kind: str, folder: Path) -> None:
    spec, compression = spec_of(name, folder), KINDS[kind]()
    data = data_of(spec)
    compression.check(spec)
    start, rng = spec.initial(np.random.default_rng(1)), np.random.default_rng(2)
    masks = compression.choose(start, spec, 1, rng) if compression.chooser == "server" else None
    settings = TrainingSettings(batch_size=4, learning_rate=1e-3)
    trained = Trainer(spec, compression, settings, 1, lambda _: np.random.default_rng(3)).fit(start, data, masks=masks)
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
    x = data.x.astype(np.float32) / 255
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


def check_wire(name: str, folder: Path) -> None:
    """Both ends have the same; what is not learned loses nothing, whatever the value type."""
    spec = spec_of(name, folder)
    content = spec.contents["weights"]
    sent = spec.initial(np.random.default_rng(1))
    assert sorted(ERRORS) == sorted(SHIPPED)
    for values, most in ERRORS.items():
        encoded = encode(sent, content, Encoding("dense", SHIPPED[values], entropy=True))
        received = read(encoded.data, content).arrays
        pairs = list(zip(sent, received, spec.kinds, strict=True))
        assert all(np.array_equal(a, b) for a, b, kind in pairs if kind != "learned"), values
        lost = sum(float(np.square(a - b).sum()) for a, b, _ in pairs)
        assert lost <= most**2 * sum(float(np.square(a).sum()) for a in sent), values


def check_distillation(student: str, teacher: str, folder: Path) -> None:
    """KD by the teacher's logits, and SimKD: first towards its features, then its head, which nothing changes."""
    model, of = spec_of(student, folder), spec_of(teacher, folder)
    known, start = of.initial(np.random.default_rng(4)), model.initial(np.random.default_rng(1))
    settings = TrainingSettings(batch_size=4, learning_rate=1e-3)
    trainer = Trainer(model, resting(1, masked=False), settings, 1, lambda _: np.random.default_rng(3))
    examples = data_of(model)
    logits = predict(of, known, examples.x)
    taught = trainer.fit(start, examples, Distillation(1.0, 2.0, logits), epochs=3)
    before, after = (kl(logits, predict(model, weights, examples.x)) for weights in (start, taught.weights))
    assert np.isfinite(after)
    assert before != after
    reused = projected(model, of, normalisation="group")
    begin = reused.with_head(reused.initial(np.random.default_rng(2)), of.head_of(known))
    features = predict(of, known, examples.x, features=True)
    matched = trainer.of(reused).fit(begin, examples, FeatureMatching(features))
    assert all(np.array_equal(a, b) for a, b in zip(reused.head_of(matched.weights), of.head_of(known), strict=True))
    assert not np.array_equal(matched.weights[0], begin[0])
    outputs = predict(reused, matched.weights, examples.x)
    again = predict(reused, matched.weights, examples.x, features=True) @ known[-2] + known[-1]
    np.testing.assert_allclose(outputs, again, atol=1e-4 * max(1.0, float(np.abs(outputs).max())))


def kl(teacher: np.ndarray, student: np.ndarray) -> float:
    return float(kl_divergence(keras.tf.constant(teacher), keras.tf.constant(student)).numpy().mean())


@pytest.mark.parametrize("name", QUICK)
def test_value_types(name: str, tmp_path: Path) -> None:
    check_wire(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_value_types_of_larger_networks(name: str, tmp_path: Path) -> None:
    check_wire(name, tmp_path)


def test_a_file_teaches_and_learns_by_logits_but_is_no_encoder_for_another_head(tmp_path: Path) -> None:
    check_distillation("mini-cnn", "file", tmp_path)
    with pytest.raises(InputError, match=r"model 'file:.*mine\.keras': is used as a whole|used as a whole"):
        projected(spec_of("file", tmp_path), spec_of("mini-cnn", tmp_path)).build()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ("resnet-8:batch", "resnet-18:group"),
        ("resnet-8:group", "resnet-18:batch"),
        ("resnet-18:batch", "resnet-8:group"),
        ("resnet-18:group", "mobilenet-v2:0.35"),
        ("mobilenet-v2:0.35", "resnet-8:batch"),
        ("mobilenet-v2:0.35:batch", "file"),
        ("keras:MobileNet", "keras:MobileNetV2"),
        ("keras:MobileNetV2", "keras:MobileNet"),
    ],
)
def test_larger_networks_teach_and_learn(student: str, teacher: str, tmp_path: Path) -> None:
    check_distillation(student, teacher, tmp_path)

"""Residual networks and MobileNetV2: sizes of the papers, arguments, and group normalisation as Keras computes it."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression import tflite
from fedcompress.errors import InputError
from fedcompress.models import architecture
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.models.normalised import normalised, plainly_grouped
from fedcompress.plugins import Plugins


def spec_of(name: str, shape: tuple[int, ...] = (32, 32, 3), classes: int = 10) -> ModelSpec:
    return ModelSpec(name, Plugins().architecture(name), shape, classes)


@pytest.mark.parametrize(
    ("name", "trained", "statistics", "features"),
    [
        ("resnet-8", 78_042, 0, 64),
        ("resnet-8:batch", 78_042, 672, 64),
        ("resnet-20:group", 272_474, 0, 64),
        ("resnet-18", 11_173_962, 0, 512),
        ("mobilenet-v2:0.35", 408_938, 0, 1280),
    ],
)
def test_sizes(name: str, trained: int, statistics: int, features: int) -> None:
    """ResNet-18 by hand, but for its blocks' convolutions: stem 3*9*64, shortcuts 64*128 + 128*256 + 256*512, head
    512*10 + 10, and two numbers for each of the 4,800 normalised channels."""
    spec = spec_of(name)
    assert sum(spec.template[i].size for i in spec.trainable) == trained
    assert sum(a.size for a, kind in zip(spec.template, spec.kinds, strict=True) if kind == "statistic") == statistics
    assert (spec.features, spec.parameters) == (features, trained + statistics)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet-8:layer", "model 'resnet-8:layer': expected how it is normalised, group or batch, as in 'resnet-8:gr"),
        ("mobilenet-v2:0", "model 'mobilenet-v2:0': expected a width above 0 and up to 4, and perhaps"),
        ("mobilenet-v2:0.5:none", "as in 'mobilenet-v2:0.35' or 'mobilenet-v2:0.35:batch'"),
    ],
)
def test_arguments_that_are_none(name: str, expected: str) -> None:
    with pytest.raises(InputError) as error:
        Plugins().architecture(name)
    assert expected in str(error.value)


def test_equal_models_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of another key is checked, and one that was wrong is checked again."""
    checked: list[str] = []
    monkeypatch.setattr(architecture, "_RIGHT", set())
    monkeypatch.setattr(ModelSpec, "_check_layers", lambda spec: checked.append(spec.name))
    specs = [ModelSpec("mini-cnn", MiniCNN(), (8, 8, 1), classes) for classes in (10, 10, 3)]
    for spec in specs:
        spec.check("digits")
    assert len(checked) == 2
    wrong = ModelSpec("mini-cnn", MiniCNN(), (1,), 10)
    for _ in range(2):
        with pytest.raises(InputError, match="does not fit 'digits'"):
            wrong.check("digits")


def test_a_layer_that_normalises_groups_is_few_operations() -> None:
    """Each of them takes time whenever a graph is made: Keras' own are 101; in the model that is built as well."""
    inputs = keras.Input((4, 4, 8))
    outputs = normalised(inputs, "group")
    graph = keras.tf.function(keras.Model(inputs, outputs)).get_concrete_function(keras.tf.TensorSpec([None, 4, 4, 8]))
    assert len(graph.graph.get_operations()) <= 35
    assert "call" in vars(outputs.node.layer)


def test_groups_are_normalised_as_by_keras_and_tflite_runs_it_on_any_number_of_examples() -> None:
    """Keras' own layer leaves nothing that TFLite can run on more than one example."""
    rng = np.random.default_rng(0)
    inputs = keras.Input((6, 5, 8))
    model = keras.Model(inputs, keras.layers.GroupNormalization(2)(inputs))
    model.set_weights([rng.normal(size=a.shape).astype(np.float32) for a in model.get_weights()])
    x = rng.normal(2.0, 3.0, (7, 6, 5, 8)).astype(np.float32)
    expected = model(x).numpy()
    assert expected.std() > 0.5
    np.testing.assert_allclose(plainly_grouped(model)(x).numpy(), expected, atol=1e-5)
    file = tflite.convert(model)
    assert tflite.operations(file) == "builtin"
    np.testing.assert_allclose(tflite.predict(file, x), expected, atol=1e-5)


@pytest.mark.parametrize("width", [0.35, 0.5, 1.4])
def test_channels_of_a_width_are_multiples_of_eight_and_never_much_fewer(width: float) -> None:
    architecture = Plugins().architecture(f"mobilenet-v2:{width}")
    found = {c: architecture._channels(c) for c in (16, 24, 32, 64, 96, 160, 320, 1280)}
    assert all(v % 8 == 0 and v >= 0.9 * width * c for c, v in found.items())
    assert all(abs(v - width * c) <= 8 for c, v in found.items())

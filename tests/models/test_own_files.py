"""Models that users bring: a saved one with a frozen backbone as a group's model, and networks of Keras."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedcompress
from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.scenario import Scenario
from tests.federating import run


def saved(path: Path, classes: int = 10) -> Any:
    """A backbone that stays as it is (random features do for digits), and a head that is learned."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(16, 3, activation="relu", trainable=False, name="backbone")(inputs)
    x = keras.layers.BatchNormalization(trainable=False, name="norm")(x)
    x = keras.layers.Flatten()(x)
    model = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax", name="mine")(x))
    model.save(path)
    return model


def scenario(model: str, **changes: Any) -> Scenario:
    return Scenario.parse(
        {
            "name": "tuning",
            "rounds": 3,
            "data": {"dataset": "digits", "clients": 3, "examples": 600, **changes.pop("data", {})},
            "training": {"batch_size": 16, "learning_rate": 0.003},
            "evaluation": {"tflite": False},
            "groups": [{"name": "all", "model": model}],
            **changes,
        }
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_frozen_backbone_crosses_once_and_its_head_learns(suffix: str, tmp_path: Path) -> None:
    """160 weights and 64 of its normalisation are frozen, 5,770 of the head are not; 10 classes, so chance is 0.1."""
    model = saved(tmp_path / f"mine{suffix}")
    made = Experiment.load(scenario(f"file:{tmp_path}/mine{suffix}", wire={"deflate": False}))
    made.check_models()
    spec = made.models[f"file:{tmp_path}/mine{suffix}"]
    assert [spec.kinds[i] for i in range(len(spec.template))] == ["constant"] * 6 + ["learned"] * 2
    begin = made.initial_weights(spec)
    assert all(np.array_equal(a, b) for a, b in zip(begin, model.get_weights(), strict=True))
    summary, directory, _ = run(made, tmp_path / "run")
    assert summary["accuracy"] > 0.5
    rows = [json.loads(line) for line in (directory.path / "ledger.jsonl").read_text().splitlines()]
    crossed = {
        (row["round"], row["direction"]): row["wire_bytes"]
        for row in rows
        if row["client"] == 0 and row["content"] == "weights"
    }
    learned, frozen, header = 4 * 5770, 4 * 224, 100
    first = crossed.pop((1, "downlink"))
    assert learned + frozen < first < learned + frozen + header
    assert len(crossed) == 5
    assert all(learned < size < learned + header for size in crossed.values())


def test_a_file_is_named_on_the_command_line(call: Callable[..., Any], tiny_file: Path) -> None:
    """5,994 parameters; the backbone of what a dense device runs is the saved one."""
    backbone = saved(Path("mine.keras")).get_layer("backbone").get_weights()[0]
    settings = ["rounds=1", *(f"groups.{group}.model=file:mine.keras" for group in ("dense", "pruned"))]
    done = call("run", tiny_file, "--out", "out", *(word for said in settings for word in ("--set", said)))
    assert done.code == 0, done.err
    run = fedcompress.load("out")
    assert isinstance(run, fedcompress.Run)
    assert run.summary["groups"]["dense"]["parameters"] == 5994
    assert np.array_equal(run.model("dense").get_layer("backbone").get_weights()[0], backbone)


def test_what_a_file_cannot_be_is_said_before_the_run(tmp_path: Path) -> None:
    saved(tmp_path / "five.h5", classes=5)
    path = f"file:{tmp_path}/five.h5"
    with pytest.raises(InputError, match=r"five\.h5: ends in a Dense with 5 outputs; expected .* of the 10 classes"):
        Experiment.load(scenario(path))
    with pytest.raises(InputError, match=r"data.normalise: received 'train', but model 'file:.*' is used as it was"):
        Experiment.load(scenario(path, data={"normalise": "train"}))
    with pytest.raises(InputError, match=r"model 'file:absent\.h5': there is no such file; expected file:PATH"):
        Plugins().architecture("file:absent.h5")
    with pytest.raises(InputError, match=r"model 'file:weights\.npz': its name ends in something else"):
        Plugins().architecture("file:weights.npz")


@pytest.mark.parametrize(("name", "weights"), [("MobileNetV2", 2_257_984), ("ResNet50V2", 23_564_800)])
def test_networks_of_keras_have_new_weights_and_a_head(name: str, weights: int) -> None:
    """As in the tables of Keras: 2,257,984 and 23,564,800 without their heads."""
    spec = ModelSpec(f"keras:{name}", Plugins().architecture(f"keras:{name}"), (32, 32, 3), 10)
    assert spec.parameters == weights + 10 * (spec.features + 1)
    assert "statistic" in spec.kinds


@pytest.mark.parametrize("name", ["MobileNetV3Small", "RegNetX002"])
def test_networks_of_keras_see_images_as_every_model_does(name: str) -> None:
    """Without what these make of images from 0 to 255 at their beginning."""
    model = ModelSpec(f"keras:{name}", Plugins().architecture(f"keras:{name}"), (32, 32, 3), 10).build()
    assert [type(layer).__name__ for layer in model.layers[:2]] == ["InputLayer", "Conv2D"]


def test_networks_of_keras_that_always_divide_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"model 'keras:EfficientNetB3': divides its inputs by 255, .*EfficientNetV2B0"
    ):
        Plugins().architecture("keras:EfficientNetB3")
    Plugins().architecture("keras:EfficientNetV2B0")


def test_a_network_that_keras_does_not_have() -> None:
    with pytest.raises(InputError, match=r"model 'keras:MobilNetV2': unknown network of tf_keras.applications"):
        Plugins().architecture("keras:MobilNetV2")


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_what_ends_in_neither_logits_nor_softmax_is_refused(tmp_path: Path, activation: str) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation)])
    model.save(tmp_path / "mine.keras")
    with pytest.raises(InputError, match=f"ends in a Dense layer with {activation}; expected logits, or softmax"):
        Experiment.load(scenario(f"file:{tmp_path}/mine.keras")).check_models()


@pytest.mark.parametrize("where", ["a layer", "a layer within a layer"])
def test_a_layer_of_a_file_that_is_called_head(tmp_path: Path, where: str) -> None:
    """The name of the last one here, whatever it was called; within another layer nothing stands against it."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(inputs)
    hidden = [keras.layers.Dense(4, name="head")]
    x = hidden[0](x) if where == "a layer" else keras.Sequential(hidden, name="inner")(x)
    keras.Model(inputs, keras.layers.Dense(10)(x)).save(tmp_path / "mine.keras")
    if where == "a layer":
        with pytest.raises(InputError, match=r"mine\.keras: has a layer 'head' that is not its last; expected another"):
            Experiment.load(scenario(f"file:{tmp_path}/mine.keras"))
    else:
        Experiment.load(scenario(f"file:{tmp_path}/mine.keras")).check_models()


def test_statistics_that_lag_behind_are_said(tmp_path: Path) -> None:
    """162 examples of a client are 6 steps of 27: 1 - 0.99^6 = 6 %; 33 steps of 5, three times: 63 %."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.BatchNormalization()(inputs))
    keras.Model(inputs, keras.layers.Dense(10)(x)).save(tmp_path / "mine.keras")
    data = {"validation": 0.0, "server_validation": 0.0, "examples": 486}

    def warnings(model: str, batch_size: int, epochs: int) -> list[str]:
        made = scenario(model, data=data)
        return Experiment.load(
            Scenario.parse(made.table(), {"training.batch_size": batch_size, "training.epochs": epochs})
        ).warnings

    (few,) = warnings(f"file:{tmp_path}/mine.keras", 27, 1)
    assert "6 steps of training in a round move the statistics" in few
    assert "of momentum 0.99, 6% of the way" in few
    assert warnings(f"file:{tmp_path}/mine.keras", 5, 3) == []
    assert warnings("mini-cnn", 27, 1) == []


def test_weights_of_a_file_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """The first round ended by them, and its strategy was blamed."""
    model = saved(tmp_path / "mine.keras")
    weights = model.get_weights()
    weights[0][0, 0, 0, :3] = [np.nan, np.inf, 1]
    model.set_weights(weights)
    model.save(tmp_path / "mine.keras")
    with pytest.raises(
        InputError, match=r"mine\.keras: 2 of the 144 values of 'backbone/kernel' are infinite or not a"
    ):
        Experiment.load(scenario(f"file:{tmp_path}/mine.keras"))


def test_initial_weights_that_are_no_numbers_are_refused() -> None:
    class Endless(Architecture):
        def features(self, inputs: Any) -> Any:
            return keras.layers.Dense(3, name="odd", bias_initializer=keras.initializers.Constant(np.inf))(inputs)

    with pytest.raises(InputError, match="model 'mine': initial weights 'odd/bias:0' hold values that are infinite"):
        ModelSpec("mine", Endless(), (4,), 2).check("own")


@pytest.mark.parametrize("inside", ["nothing", "a model that was trained", "a layer that was built"])
def test_a_model_that_was_saved_before_it_was_built_is_refused(tmp_path: Path, inside: str) -> None:
    """Built after loading it would lose the weights that the file has."""
    layers = keras.layers
    first = {
        "nothing": layers.Dense(4),
        "a model that was trained": keras.Sequential([keras.Input((64,)), layers.Dense(4)]),
        "a layer that was built": layers.Dense(4),
    }[inside]
    if inside == "a layer that was built":
        first.build((None, 64))
    keras.Sequential([layers.Flatten(), first, layers.Dense(10)]).save(tmp_path / "mine.keras")
    with pytest.raises(InputError, match=r"mine\.keras: its input shape is not known, .*: begin with Input\(...\), or"):
        Experiment.load(scenario(f"file:{tmp_path}/mine.keras"))


def test_a_sequential_that_was_built_keeps_its_weights(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    model.build((None, 8, 8, 1))
    model.save(tmp_path / "mine.keras")
    spec = Experiment.load(scenario(f"file:{tmp_path}/mine.keras")).models[f"file:{tmp_path}/mine.keras"]
    assert spec.trained is not None
    assert np.array_equal(spec.trained[0], model.get_weights()[0])

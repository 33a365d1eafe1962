"""Keras files that are not to be trusted: nothing in them runs, opens other files or unfolds without bound."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models import reading

FORMATS = ("h5", "keras")


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file that only the code of a forged model would make."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


def digits(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(10)])


def saved(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def forged(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Rewrites the configuration of a saved model by changing that of its last layer."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config["config"]["layers"][-1])
            file.attrs["model_config"] = json.dumps(config)
        return path
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config["config"]["layers"][-1])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, "config.json": json.dumps(config).encode()}.items():
            archive.writestr(name, content)
    return path


def touching(marker: Path) -> Any:
    """Returns a Lambda layer that makes a file wherever it is loaded, as its save has done."""
    name = str(marker)
    return keras.layers.Lambda(lambda x: (open(name, "w").close(), x)[1], name="wild")  # noqa: PTH123


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("nesting", ["plain", "model", "distributed"])
def test_a_lambda_layer_is_refused_and_does_not_run(tmp_path: Path, marker: Path, nesting: str, suffix: str) -> None:
    layers, wild = keras.layers, touching(marker)
    where = "wild"
    if nesting == "model":
        inner = keras.Sequential([keras.Input((8, 8, 1)), wild], name="inner")
        model, where = digits(keras.Sequential([keras.Input((8, 8, 1)), inner], name="outer")), "outer/inner/wild"
    elif nesting == "distributed":
        model, where = digits(layers.TimeDistributed(wild, name="rows")), "rows/wild"
    else:
        model = digits(wild)
    path = saved(model, tmp_path / f"model.{suffix}")
    marker.unlink()
    with pytest.raises(InputError) as error:
        reading.read(path)
    assert str(error.value) == (
        f"model {path}: in layer '{model.name}/{where}', 'Lambda' is refused: it holds Python code; it is not loaded, "
        "since that could run code or open files. Expected layers, initializers, regularizers, constraints and "
        "activations of tf_keras (Keras 2) alone; replace it by those and save the model again."
    )


def test_compress_refuses_it_before_anything_is_made(call: Callable[..., Any], tmp_path: Path, marker: Path) -> None:
    path = saved(digits(touching(marker)), tmp_path / "model.h5")
    marker.unlink()
    done = call("compress", "--model", path, "--data", "digits", "--method", "plain", "--out", "found")
    assert done.code == 2
    assert "'Lambda' is refused: it holds Python code" in done.err
    assert done.err.count("\n") == 1
    assert not Path("found").exists()


def _activation(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda layer: layer["config"].update(activation=value)


def _layer(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda layer: layer.update(values)


def _initializer(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda layer: layer["config"].update(kernel_initializer=value)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_layer(module="antigravity"), "'Dense' comes from the module 'antigravity'"),
        (_layer(module="kerasevil.layers"), "'Dense' comes from the module 'kerasevil.layers'"),
        (_layer(class_name="Popen", module="subprocess"), "'Popen' comes from the module 'subprocess'"),
        (_layer(class_name="get_file", module="keras.utils"), "'get_file' is none of tf_keras"),
        (_layer(registered_name="get_file", module="keras.utils"), "'Dense' is none of tf_keras"),
        (_layer(class_name="mine>Own", module="mine"), "'mine>Own' comes from the module 'mine'"),
        (_layer(class_name="Own"), "'Own' is none of tf_keras"),
        (_layer(class_name=["Dense"]), "\"['Dense']\" is none of tf_keras"),
        (_layer(class_name="StringLookup"), "'StringLookup' is refused: it may open a file that it names"),
        (
            _layer(class_name="TFOpLambda", config={"name": "op", "function": "io.write_file"}),
            "the TensorFlow function 'io.write_file' is not known to be without effects",
        ),
        (
            _layer(class_name="SlicingOpLambda", config={"name": "op", "function": "raw_ops.ReadFile"}),
            "the TensorFlow function 'raw_ops.ReadFile' is not known to be without effects",
        ),
        (_layer(class_name="ClassMethod", registered_name="Custom>Adam"), "'ClassMethod' is none of tf_keras"),
        (_layer(class_name="InstanceMethod"), "'InstanceMethod' is none of tf_keras"),
        (
            _activation({"class_name": "function", "module": "os", "config": "system", "registered_name": "system"}),
            "'function' comes from the module 'os'",
        ),
        (
            _activation({"class_name": "function", "module": "builtins", "config": "exec"}),
            "the function 'exec' is none of tf_keras",
        ),
        (
            _activation({"class_name": "__lambda__", "module": "builtins", "config": {"value": ["", None, None]}}),
            "'__lambda__' is refused: it holds Python code",
        ),
        (
            _initializer({"class_name": "__typespec__", "module": "os", "spec_name": "x", "config": []}),
            "'__typespec__' comes from the module 'os'",
        ),
        (_initializer({"class_name": "TypeSpec", "type_spec": "x"}), "'TypeSpec' is none of tf_keras"),
    ],
)
def test_what_is_on_no_list_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], problem: str, suffix: str
) -> None:
    path = forged(saved(digits(), tmp_path / f"model.{suffix}"), change)
    with pytest.raises(InputError) as error:
        reading.read(path)
    assert f", {problem}; it is not loaded, " in str(error.value)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_of_keras_3_is_said_to_be_one(tmp_path: Path, suffix: str) -> None:
    """Each of its layers names a class that Keras 2 lacks, which is not what its author can change."""
    path = forged(saved(digits(), tmp_path / f"model.{suffix}"), _layer(class_name="DTypePolicy"))
    if suffix == "h5":
        with h5py.File(path, "r+") as file:
            file.attrs["keras_version"] = "3.15.1"
    else:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**members, "metadata.json": b'{"keras_version": "3.15.1"}'}.items():
                archive.writestr(name, content)
    with pytest.raises(InputError) as error:
        reading.read(path)
    assert str(error.value) == (
        f"model {path}: was saved by Keras 3.15.1; expected a file of tf_keras (Keras 2). Build the model again with "
        "`import tf_keras as keras`, give it the weights (new.set_weights(old.get_weights())), and save that."
    )


@pytest.mark.parametrize("suffix", FORMATS)
def test_models_of_built_in_layers_are_read(tmp_path: Path, suffix: str) -> None:
    layers, tf = keras.layers, keras.tf
    inputs = keras.Input((8, 8, 1))
    x = layers.RandomFlip()(layers.Rescaling(0.5)(inputs))
    x = layers.Conv2D(
        4, 3, activation=tf.nn.relu, kernel_regularizer="l2", kernel_constraint=keras.constraints.MaxNorm(2)
    )(x)
    x = layers.SeparableConv2D(4, 3, padding="same")(layers.BatchNormalization()(x))
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.DepthwiseConv2D(3), layers.PReLU()])
    inner.compile("adam", keras.losses.MeanSquaredError(), metrics=["mae"])
    x = tf.nn.relu(inner(x) * 2 + 1)[:, 1:]
    x = layers.Reshape((12, 4))(tf.reshape(x, (-1, 48)))
    x = layers.MultiHeadAttention(2, 2)(x, x)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True, dropout=0.1))(layers.LayerNormalization()(x))
    x = layers.TimeDistributed(layers.Dense(3, activation="gelu", dtype="mixed_bfloat16"))(x)
    x = layers.GRU(3)(layers.Attention()([x, x]))
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(10)(layers.Dropout(0.5)(x))))
    model.compile(loss=lambda truth, found: truth - found)  # is no part of what is read
    path = saved(model, tmp_path / f"model.{suffix}")
    examples = np.random.default_rng(1).random((3, 8, 8, 1), np.float32)
    read, kept = (m(examples, training=False).numpy() for m in (reading.read(path), model))
    np.testing.assert_array_equal(read, kept)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_layer_of_ones_own_is_read_where_it_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    registered = keras.saving.get_custom_objects()

    class Doubled(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    own = keras.saving.register_keras_serializable("mine")(Doubled)
    model = digits(own())
    path = saved(model, tmp_path / f"model.{suffix}")
    examples = np.ones((1, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(reading.read(path)(examples), model(examples))
    monkeypatch.delitem(registered, "mine>Doubled")
    refused = {"h5": "'mine>Doubled' is none of tf_keras", "keras": f"'Doubled' comes from the module {__name__!r}"}
    with pytest.raises(InputError, match=refused[suffix]):
        reading.read(path)


def _weights_of(path: Path) -> h5py.File:
    return h5py.File(path, "r+")


def _external_link(file: h5py.File, other: Path) -> None:
    file["model_weights/there"] = h5py.ExternalLink(str(other), "/secret")


def _soft_link(file: h5py.File, other: Path) -> None:
    file["model_weights/there"] = h5py.SoftLink("/model_weights")


def _external_storage(file: h5py.File, other: Path) -> None:
    file.create_dataset("model_weights/raw", (16,), "u1", external=[(str(other), 0, 16)])


def _virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(other), "secret", (4,), "f4")
    file.create_virtual_dataset("model_weights/virtual", layout)


def _huge(file: h5py.File, other: Path) -> None:
    file.create_dataset("model_weights/huge", (10**12,), "f4", chunks=(1024,))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_external_link, "'model_weights/there' in it is a link, perhaps to another file"),
        (_soft_link, "'model_weights/there' in it is a link, perhaps to another file"),
        (_external_storage, "'model_weights/raw' in it takes its values from another file"),
        (_virtual, "'model_weights/virtual' in it takes its values from another file"),
        (_huge, "declares to hold 400000"),
    ],
)
def test_a_file_that_leads_elsewhere_or_declares_too_much(
    tmp_path: Path, change: Callable[[h5py.File, Path], None], problem: str
) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones(4, np.float32)
    path = saved(digits(), tmp_path / "model.h5")
    with _weights_of(path) as file:
        change(file, other)
    with pytest.raises(InputError, match="cannot be read: ") as error:
        reading.read(path)
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("member", "content", "problem"),
    [
        ("../../outside", b"x", "it holds '../../outside', where config.json, "),
        ("model.weights.npz", pickle.dumps(1), "it holds 'model.weights.npz', where "),
        ("assets/vocabulary.txt", b"x", "it holds 'assets/vocabulary.txt', where "),
        ("metadata.json", b" " * 10**7, "declares to hold 100"),
    ],
)
def test_an_archive_with_more_than_a_model(tmp_path: Path, member: str, content: bytes, problem: str) -> None:
    path = saved(digits(), tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | {member: content}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    with pytest.raises(InputError, match="cannot be read: ") as error:
        reading.read(path)
    assert problem in str(error.value)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.h5").mkdir()
    os.mkfifo(tmp_path / "pipe.keras")
    for name, problem in (("folder.h5", "it is no file"), ("pipe.keras", "it is no file"), ("absent.h5", "no such")):
        with pytest.raises(InputError, match=problem):
            reading.read(tmp_path / name)


def test_an_h5_file_under_the_other_name_is_checked_as_what_it_is(tmp_path: Path, marker: Path) -> None:
    path = saved(digits(touching(marker)), tmp_path / "model.h5").rename(tmp_path / "model.keras")
    marker.unlink()
    with pytest.raises(InputError, match="'Lambda' is refused"):
        reading.read(path)

"""Methods end to end on small digits, and what is kept of them: files that load in a fresh process, a page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.data.loading import load_dataset
from fedcompress.recipes.bench import Fitted
from fedcompress.recipes.methods.cluster import Clustering, ClusteringParams

RECIPE = """
name = "methods"
model = "mlp:12"
tflite = false
[data]
dataset = "digits"
examples = 400
[training]
epochs = 2
learning_rate = 0.01
[[experiments]]
method = "qat"
each = { bits = [4, 32] }
[[experiments]]
method = "qap"
params = { bits = 4, sparsity = 0.6 }
[[experiments]]
method = "fixed-point"
params = { bits = 6, integer = 1 }
[[experiments]]
method = "ternary"
params = { biases = "ternary", activations = "ternary" }
[[experiments]]
method = "cluster"
params = { clusters = 6, sparsity = 0.5 }
[[experiments]]
name = "adaptive"
method = "cluster"
params = { clusters = 8, hold = 0.9, epochs = 1 }
[[experiments]]
method = "float16"
[[experiments]]
method = "dynamic-range"
[[experiments]]
method = "kd"
params = { teacher = "mlp:24", bits = 8 }
"""

RELOAD = """
import json, sys
import numpy as np
import tf_keras
x, y = np.load("x.npy"), np.load("y.npy")
files = json.loads(sys.argv[1])
print(json.dumps([float((tf_keras.models.load_model(f).predict(x, verbose=0).argmax(1) == y).mean()) for f in files]))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    from fedcompress.options import Options
    from fedcompress.recipes import launch
    from fedcompress.recipes.display import RecipeDisplay
    from fedcompress.recipes.recipe import Recipe
    from fedcompress.scenario.overrides import tomllib

    path = tmp_path_factory.mktemp("recipe") / "run"
    with RecipeDisplay() as display:
        found = launch.start(Recipe.parse(tomllib.loads(RECIPE)), path, Options(), display)
    return path, found


def test_every_method_learns_and_is_measured(rows: tuple[Path, list[dict[str, Any]]]) -> None:
    """65 * 12 + 13 * 10 = 910 parameters, 64 * 12 + 12 * 10 = 888 multiply-adds."""
    for row in rows[1]:
        assert row["test"] > 0.3, row["experiment"]
        assert (row["parameters"], row["multiply_adds"]) == (910, 888)
        assert row["deflated_bytes"] < row["file_bytes"]
        assert len(row["curve"]) > 0
        assert np.sum(row["confusion"]) == len(load_dataset("digits").y_test)
        assert np.trace(row["confusion"]) / np.sum(row["confusion"]) == pytest.approx(row["test"])
    of = {row["experiment"]: row for row in rows[1]}
    assert (of["ternary biases ternary activations ternary"]["bits"], of["float16"]["bits"]) == (2, 16)


def test_pruned_weights_stay_zero_and_rounding_is_counted_apart(rows: tuple[Path, list[dict[str, Any]]]) -> None:
    (row,) = [row for row in rows[1] if row["method"] == "qap"]
    assert row["returned"] == 0
    assert row["masked_zeros"] == pytest.approx(0.6 * 888, abs=2)
    assert row["masked_zeros"] + row["rounded_zeros"] == pytest.approx(row["sparsity"] * 888)
    assert row["rounded_zeros"] > 0


def test_the_number_of_clusters_adapts_by_validation(rows: tuple[Path, list[dict[str, Any]]]) -> None:
    steps = [row for row in rows[1] if row["experiment"] == "adaptive"]
    assert steps[0]["step"] == "8 clusters"
    held = [int(row["step"].split()[0]) for row in steps if row["holds"] == "yes"]
    failed = [int(row["step"].split()[0]) for row in steps if row["holds"] == "no"]
    assert not held or not failed or min(held) == max(failed) + 1


@pytest.mark.parametrize(
    ("first", "least", "tried"),
    [(7, 2, [7, 3, 2]), (6, 3, [6, 3, 2]), (3, 2, [3, 2]), (2, 2, [2]), (2, 3, [2]), (16, 5, [16, 8, 4, 6, 5])],
)
def test_the_fewest_clusters_that_hold_are_found(
    monkeypatch: pytest.MonkeyPatch, first: int, least: int, tried: list[int]
) -> None:
    """Two are the fewest that there are; 3 are halved to them."""

    def clustered(self: Clustering, bench: Any, clusters: int, wanted: float) -> tuple[int, float]:
        return clusters, float(clusters >= least)

    monkeypatch.setattr(Clustering, "_clustered", clustered)
    bench: Any = SimpleNamespace(dense=list, validate=lambda weights: 1.0)
    assert list(Clustering(ClusteringParams(clusters=first, hold=1.0)).run(bench)) == tried


@pytest.mark.parametrize(("zeros", "clusters", "bits"), [(0, 18, 5), (0, 16, 4), (9, 16, 5), (9, 18, 5)])
def test_clusters_are_counted_on_the_weights(zeros: int, clusters: int, bits: int) -> None:
    """Most are rare: quantiles of weights that are clustered already miss them."""
    array = np.concatenate([np.zeros(zeros), np.ones(5000), np.arange(2, clusters + 1)]).astype(np.float32)
    spec = SimpleNamespace(prunable=(0,))
    fitted = Fitted([array], [], 0.0, 0, 0, validation=1.0)
    bench: Any = SimpleNamespace(
        spec=spec, training=SimpleNamespace(epochs=1), dense=lambda: [array], train=lambda *_, **__: fitted
    )
    (outcome,) = Clustering(ClusteringParams(clusters=20)).run(bench)
    assert (outcome.figures["clusters"], outcome.bits) == (clusters, bits)


def test_models_load_in_a_fresh_process_with_the_same_accuracy(
    rows: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """With nothing but tf_keras: what rounds activations is saved as plain operations.

    Batches are of another size there, and with them the last bits of sums. Where these decide between -1, 0 and 1, with
    ternary activations, they can change what is made of a digit, on some processors.
    """
    path, found = rows
    data = load_dataset("digits")
    np.save(tmp_path / "x.npy", (data.x_test / np.float32(255)).astype(np.float32))
    np.save(tmp_path / "y.npy", data.y_test)
    kept = [row for row in found if row["method"] not in ("float16", "dynamic-range")]
    files = json.dumps([str(path / row["file"]) for row in kept])
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, files], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    again, digit = json.loads(done.stdout), 1 / len(data.y_test)
    for accuracy, row in zip(again, kept, strict=True):
        rest = digit if row["experiment"].startswith("ternary") else 0.0
        assert accuracy == pytest.approx(row["test"], abs=rest + 1e-9), row["experiment"]
    assert sum(row["experiment"].startswith("ternary") for row in kept) == 1


def test_tflite_files(call: Callable[..., Any], tmp_path: Path) -> None:
    """What is converted is as accurate as what was trained, and smaller as int8 or float16."""
    options = ("--model", "mlp:40", "--data", "digits", "--epochs", 8, "--set", "training.learning_rate=0.01")
    done = call("compress", *options, "--method", "float16", "--out", "found", "--json")
    assert done.code == 0, done.err
    plain, half = json.loads(done.out)["rows"]
    for row in (plain, half):
        assert row["int8_test"] == pytest.approx(row["test"], abs=0.01)
        assert row["int8_bytes"] < plain["tflite_bytes"]
        assert 0 < row["latency_us"] < 1e6
    assert half["test"] == pytest.approx(plain["test"], abs=0.005)
    assert half["tflite_bytes"] < plain["tflite_bytes"]
    files = {path.name: path.stat().st_size for path in (tmp_path / "found" / "models").iterdir()}
    assert files["01-plain-seed1.tflite"] == plain["tflite_bytes"]
    assert files["01-plain-seed1-int8.tflite"] == plain["int8_bytes"]


class Outside(HTMLParser):
    """Collects what a page would ask others for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        links = [value for name, value in attrs if name in ("src", "href") and value]
        self.found += [f"{tag} {value}" for value in links if not value.startswith(("#", "data:"))]


def test_the_page_is_whole_and_asks_for_nothing(rows: tuple[Path, list[dict[str, Any]]]) -> None:
    text = (rows[0] / "report.html").read_text(encoding="utf-8")
    outside = Outside()
    outside.feed(text)
    assert outside.found == []
    assert text.count('id="plots:library"') == 1
    assert text.count("<figure>") == 3
    assert all(f'<th scope="row">{row["experiment"]}</th>' in text for row in rows[1])


def save(path: Path, *layers: Any) -> Path:
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    model.save(path)
    return path


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("ends", ["softmax", "layer", "logits"])
def test_a_users_own_model(call: Callable[..., Any], tmp_path: Path, suffix: str, ends: str) -> None:
    """Softmax or not: it is measured as it is, then pruned."""
    last = keras.layers.Dense(10, activation="softmax" if ends == "softmax" else None)
    extra = [keras.layers.Softmax()] if ends == "layer" else []
    layers = [keras.layers.Flatten(), keras.layers.Dense(7, activation="relu"), keras.layers.Dropout(0.1), last, *extra]
    path = save(tmp_path / f"mine.{suffix}", *layers)
    data = load_dataset("digits")
    own = keras.models.load_model(path, compile=False).predict(data.x_test / np.float32(255), verbose=0)
    done = call(
        "compress", "--model", path, "--data", "digits", "--method", "magnitude", "--sparsity", 0.5, "--epochs", 1,
        "--set", "tflite=false", "--out", "found", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    plain, pruned = json.loads(done.out)["rows"]
    assert plain["model"] == "mine"
    assert plain["test"] == pytest.approx((own.argmax(axis=1) == data.y_test).mean())
    assert pruned["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert plain["layers"] == "Dense 7 Dense 10"


def test_models_that_do_not_fit_are_refused_before_anything_is_trained(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    layers = keras.layers
    save(tmp_path / "one.keras", layers.Flatten(), layers.Dense(1, activation="sigmoid"))
    keras.Sequential([keras.Input((5,)), layers.Dense(10)]).save(tmp_path / "table.h5")
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    for name, problem in (
        (
            "one.keras",
            "ends in a Dense with 1 outputs; expected one input, and at the end a Dense layer",
        ),
        ("table.h5", "takes inputs of 5; the examples of the data are 8x8x1"),
        ("broken.keras", "cannot be read: "),
        ("absent.h5", "cannot be read: "),
    ):
        done = call("compress", "--model", name, "--data", "digits", "--method", "qat", "--bits", 8, "--out", "found")
        assert (done.code, done.err.count("\n"), done.out) == (2, 1, ""), done.err
        assert problem in done.err
        assert not (tmp_path / "found").exists()


def test_channels_that_nobody_makes_are_refused(call: Callable[..., Any], tmp_path: Path) -> None:
    layers = keras.layers
    save(tmp_path / "deep.keras", layers.DepthwiseConv2D(3), layers.Flatten(), layers.Dense(10))
    done = call(
        "compress", "--model", "deep.keras", "--data", "digits", "--method", "channel", "--sparsity", 0.5,
        "--out", "found",
    )  # fmt: skip
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, ""), done.err
    assert "(DepthwiseConv2D) makes several channels of one, or keeps those of the model's inputs." in done.err


def test_the_sparsity_is_that_of_the_whole_file(call: Callable[..., Any], tmp_path: Path) -> None:
    """Frozen: 6 x 6 maps, 9 weights to 4 channels. Half of 9 * 4 depthwise and 64 * 10 weights of the head are pruned,
    so that 338 of 712 are zero; the table names what stays dense, and the file says the same.
    """
    layers = keras.layers
    backbone = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3, name="seen")], name="backbone")
    backbone.trainable = False
    save(
        tmp_path / "frozen.keras", backbone, layers.DepthwiseConv2D(3, name="deep"), layers.Flatten(), layers.Dense(10)
    )
    done = call(
        "compress", "--model", "frozen.keras", "--data", "digits", "--method", "magnitude", "--sparsity", 0.5,
        "--epochs", 1, "--set", "tflite=false", "--out", "found",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "stays dense: seen: 5.1 % of the kernels' weights" in done.out
    written = tmp_path / "found" / "experiments" / "02-magnitude-sparsity-0.5-seed1.json"
    (row,) = json.loads(written.read_text(encoding="utf-8"))["rows"]
    assert row["sparsity"] == pytest.approx(338 / 712)
    assert row["stays_dense"] == "seen: 5.1 % of the kernels' weights"
    assert row["layer_sparsity"] == {"seen": 0.0, "deep": 0.5, "head": 0.5}
    assert row["layers"] == "Conv2D 4 DepthwiseConv2D 4 Dense 10"
    own = keras.models.load_model(tmp_path / "found" / row["file"], compile=False)
    zeros = sum(int((w == 0).sum()) for w in own.get_weights() if w.ndim > 1)
    assert zeros == 338
    assert row["multiply_adds"] == 36 * 9 * 4 + 16 * 9 * 4 + 640
    assert row["multiply_adds_nonzero"] == 36 * 9 * 4 + 16 * 9 * 2 + 320


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["qat", "--bits", 1], "params.bits: received 1; supported are 2 to 16, or 32 (float)."),
        (["qat", "--bits", 24], "params.bits: received 24; supported are 2 to 16, or 32 (float)."),
        (["qap", "--sparsity", 1.0], "params.sparsity: received 1.0; input should be less than 1."),
        (["kd", "--param", "teacher=mpl"], "params.teacher: unknown model 'mpl'. Did you mean 'mlp'?"),
        (
            ["cluster", "--param", "clusters=1"],
            "params.clusters: received 1; input should be greater",
        ),
    ],
)
def test_what_a_method_does_not_support(call: Callable[..., Any], arguments: list[Any], problem: str) -> None:
    done = call("compress", "--model", "mlp:4", "--data", "digits", "--method", *arguments, "--out", "found")
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, ""), done.err
    assert problem in done.err

"""Mixed precision: what layers compute in, what stays float32, and a scaled loss for float16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression.pruning import resting
from fedcompress.data.federated import Examples
from fedcompress.distillation.projector import projected
from fedcompress.launch import run_one
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.file import File
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.recipes.recipe import Recipe
from fedcompress.scenario import Scenario
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training import precision, trainer
from fedcompress.training.loop import make_optimizer
from fedcompress.training.objectives import FeatureMatching, Objective
from fedcompress.training.trainer import Trained, Trainer
from fedcompress.wire.content import Arrays
from tests.federating import TINY

SHAPE = (8, 8, 1)
RNG = np.random.default_rng(0)
DATA = Examples(RNG.integers(0, 256, (24, *SHAPE), np.uint8), RNG.integers(0, 4, 24).astype(np.int32))


def spec_of(name: str) -> ModelSpec:
    return ModelSpec(name, Plugins().architecture(name), SHAPE, 4)


def trained(spec: ModelSpec, kind: str, objective: Objective | None = None) -> Trained:
    settings = TrainingSettings(batch_size=8, optimizer="sgd", learning_rate=0.05, precision=kind)  # type: ignore[arg-type]
    of_spec = Trainer(spec, resting(1, masked=False), settings, 1, lambda _: np.random.default_rng(3))
    return of_spec.fit(spec.initial(np.random.default_rng(1)), DATA, objective)


def distance(a: Arrays, b: Arrays) -> float:
    return sum(float(np.square(x - y).sum()) for x, y in zip(a, b, strict=True)) ** 0.5


@pytest.mark.parametrize(("half", "share", "digits"), [("bfloat16", 0.1, 8), ("float16", 0.02, 11)])
def test_a_training_is_that_of_float32_but_for_rounding(
    half: precision.Half, share: float, digits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another way by at most a share of what training moves; a loss has as many binary digits as a half number."""
    monkeypatch.setattr(trainer, "half", lambda: half)
    spec = spec_of("mini-cnn")
    exact, mixed, start = trained(spec, "float32"), trained(spec, "mixed"), spec.initial(np.random.default_rng(1))
    assert 0 < distance(exact.weights, mixed.weights) < share * distance(exact.weights, start)
    assert distance(mixed.weights, trained(spec, "mixed").weights) == 0.0
    assert {w.dtype for w in mixed.weights} == {np.dtype(np.float32)}
    assert exact.loss != mixed.loss == pytest.approx(exact.loss, rel=2.0**-digits)


def test_float16_or_bfloat16_is_the_devices_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    config = keras.tf.config
    found: list[Any] = []
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: range(len(found)))
    monkeypatch.setattr(config.experimental, "get_device_details", lambda i: {"compute_capability": found[i]})
    assert precision.half() == "bfloat16"
    found.append((8, 0))
    assert precision.half() == "bfloat16"
    found.append((7, 5))
    assert precision.half() == "float16"


def test_a_step_that_overflows_changes_nothing_and_halves_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "GROWTH", 2)
    tf, steps, variable = keras.tf, precision.ScaledSteps(), keras.tf.Variable(1.0)
    optimizer = make_optimizer("sgd", [variable], learning_rate=1.0)

    @tf.function(autograph=False)
    def step(gradient: Any) -> Any:
        """Applies a gradient of the unscaled loss, if scaling leaves it finite in float16."""
        scaled = tf.cast(tf.cast(steps.scaled(gradient), tf.float16), tf.float32)
        steps.apply(optimizer, steps.unscaled([scaled]), [variable])
        return steps._scale

    steps.begin(tf.constant(False))
    assert [float(step(tf.constant(4.0))), float(variable)] == [2.0**14, 1.0]
    assert [float(step(tf.constant(3.0))), float(variable)] == [2.0**14, -2.0]
    assert [float(step(tf.constant(1.0))), float(variable)] == [2.0**15, -3.0]
    steps.begin(tf.constant(False))
    assert float(step(tf.constant(2.0**-20))) == precision.FIRST_SCALE
    assert float(variable) == -3.0 - 2.0**-20


def test_features_and_a_models_file(tmp_path: Path) -> None:
    """Layers of a file are saved as float32; where their policy is another one, it stays."""
    spec = spec_of("mini-cnn")
    student = projected(spec, spec)
    features = FeatureMatching(np.zeros((len(DATA), spec.features), np.float32))
    exact, mixed = (trained(student, kind, features).weights for kind in ("float32", "mixed"))
    assert 0 < distance(exact, mixed) < 0.1 * distance(exact, student.initial(np.random.default_rng(1)))
    inputs = keras.Input(SHAPE)
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, name="inner")])
    x = keras.layers.Flatten()(keras.layers.ReLU(dtype="float64", name="exact")(inner(inputs)))
    keras.Model(inputs, keras.layers.Dense(4)(x)).save(tmp_path / "mine.keras")
    saved = File(f"{tmp_path}/mine.keras").spec("file", SHAPE, 4)
    with keras.computing("mixed_bfloat16"):
        model = saved.build()
    kinds = {layer.name: layer.compute_dtype for layer in model._flatten_layers()}
    assert [kinds[name] for name in ("inner", "exact", "head")] == ["bfloat16", "float64", "float32"]
    assert all(layer.compute_dtype != "bfloat16" for layer in saved.build().layers)


def test_a_run_says_so_and_is_the_same_on_two_threads(tmp_path: Path) -> None:
    table = {**TINY, "rounds": 1, "data": {"dataset": "digits", "clients": 2, "examples": 64}}
    made = Scenario.parse(table, {"training.precision": "mixed"})
    one = run_one(made, tmp_path / "one")
    assert one["graph_seconds"] > 0.0
    assert run_one(made, tmp_path / "two", Options(workers=2))["model_digest"] == one["model_digest"]
    assert run_one(Scenario.parse(table), tmp_path / "plain")["model_digest"] != one["model_digest"]
    of_one, of_plain = (json.loads((tmp_path / name / "provenance.json").read_text()) for name in ("one", "plain"))
    assert of_one["precision"] == "bfloat16"
    assert "precision" not in of_plain


def test_documents_without_it_are_written_as_before_there_was_the_key() -> None:
    assert "precision" not in Scenario.parse(TINY).toml()
    assert 'precision = "mixed"' in Scenario.parse(TINY, {"training.precision": "mixed"}).toml()
    recipe: dict[str, Any] = {"name": "a", "experiments": [{}]}
    assert "precision" not in Recipe.parse(recipe).toml()
    assert 'precision = "mixed"' in Recipe.parse(recipe, {"training.precision": "mixed"}).toml()

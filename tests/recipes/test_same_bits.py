"""Same seed, same table, for models with random layers and with initial weights that are drawn in nested layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.options import Options
from fedcompress.recipes import launch
from fedcompress.recipes.display import RecipeDisplay
from fedcompress.recipes.recipe import Recipe
from fedcompress.scenario.overrides import tomllib
from federating import PLUGINS

RECIPE = """
name = "random"
model = "zoo:dropout"
tflite = false
[data]
dataset = "digits"
examples = 100
[training]
epochs = 1
[[experiments]]
method = "magnitude"
params = { sparsity = 0.5 }
[[experiments]]
method = "qat"
params = { bits = 8 }
[[experiments]]
method = "plain"
model = "zoo:lstm"
[[experiments]]
method = "lottery"
model = "FILE"
params = { remaining = 0.9 }
"""


def table(path: Path, file: Path) -> list[dict[str, Any]]:
    with RecipeDisplay() as display:
        recipe = Recipe.parse(tomllib.loads(RECIPE.replace("FILE", str(file))))
        rows = launch.start(recipe, path, Options(plugins=(PLUGINS,)), display)
    return [{key: value for key, value in row.items() if key not in ("seconds", "shared_seconds")} for row in rows]


def saved(path: Path, *layers: Any) -> Path:
    keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(10)]).save(path)
    return path


def test_a_recipe_twice(tmp_path: Path) -> None:
    layers = keras.layers
    dense = layers.Dense(8, activation="relu", bias_initializer="random_normal")
    file = saved(tmp_path / "mine.keras", layers.Flatten(), layers.GaussianNoise(0.1), dense, layers.Dropout(0.2))
    first, again = (table(tmp_path / name, file) for name in ("first", "again"))
    assert first == again
    losses = [point["loss"] for row in first for point in row["curve"]]
    assert len(losses) >= 8
    assert np.isfinite(losses).all()


def test_a_saved_model_that_no_seed_repeats_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 1))
    x = keras.tf.nn.dropout(keras.layers.Flatten()(inputs), 0.1)
    file = tmp_path / "mine.keras"
    keras.Model(inputs, keras.layers.Dense(10)(x)).save(file)
    with pytest.raises(InputError, match=r"^model 'mine': '.*' \(RandomUniform\) draws random numbers that no seed"):
        table(tmp_path / "run", file)
    assert not (tmp_path / "run").exists()

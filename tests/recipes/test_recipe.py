"""Recipes: what they may say, and what they are told if it is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from fedcompress.errors import InputError
from fedcompress.recipes.recipe import Recipe
from fedcompress.recipes.runner import Session

BEFORE = "902cf7e731b00744e18392cfad5392596fa33b164c60a357ad6186a940a768db"
"""Computed by the version that had none of them."""


def parse(*experiments: dict[str, Any], **keys: Any) -> Recipe:
    return Recipe.parse({"name": "tiny", "experiments": list(experiments), **keys})


def test_a_recipe_without_later_keys_has_the_digest_that_it_had_before_them() -> None:
    """Recipes that an earlier version has begun go on."""
    recipe = parse({"method": "plain"}, data={"dataset": "digits"})
    assert recipe.digest == BEFORE
    assert parse({"method": "plain"}, data={"dataset": "digits"}, training={"patience": 2}).digest != BEFORE


def test_each_is_an_experiment_for_every_combination() -> None:
    each = {"model": ["mlp:8", "mlp:4"], "bits": [4, 8]}
    recipe = parse({"method": "plain"}, {"method": "qat", "each": each, "params": {"sparsity": 0.5}})
    labels = [experiment.label for experiment in recipe.plan()]
    assert labels == ["plain"] + [f"qat mlp:{m} sparsity 0.5 bits {b}" for m in (8, 4) for b in (4, 8)]
    assert [e.model for e in recipe.plan()] == [None, "mlp:8", "mlp:8", "mlp:4", "mlp:4"]


def test_an_experiment_may_be_of_a_data_set_of_its_own() -> None:
    sets = ["digits", "npz:other.npz"]
    recipe = parse({"name": "as it is", "each": {"dataset": sets}}, {"dataset": "digits"}, {"method": "plain"})
    assert [e.label for e in recipe.plan()] == ["as it is digits", "as it is npz:other.npz", "plain digits", "plain"]
    assert [e.dataset for e in recipe.plan()] == [*sets, "digits", None]


def test_a_named_experiment_of_several_values() -> None:
    recipe = parse({"name": "ladder", "method": "magnitude", "each": {"sparsity": [0.1, 0.5]}})
    assert [experiment.label for experiment in recipe.plan()] == ["ladder sparsity 0.1", "ladder sparsity 0.5"]


def test_a_recipe_reads_back_what_it_writes() -> None:
    recipe = parse({"method": "magnitude", "each": {"sparsity": [0.1, 0.5]}}, seeds=[1, 2])
    assert Recipe.parse(tomllib.loads(recipe.toml())) == recipe


def test_an_override_addresses_an_experiment_by_name() -> None:
    table = {"name": "tiny", "experiments": [{"name": "a", "method": "magnitude", "params": {"sparsity": 0.5}}]}
    recipe = Recipe.parse(table, {"experiments.a.params.sparsity": 0.7, "training.epochs": 3})
    assert (recipe.experiments[0].params, recipe.training.epochs) == ({"sparsity": 0.7}, 3)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"modle": "mlp"}, "modle: unknown key. Did you mean 'model'?"),
        ({"training": {"epoch": 3}}, "training.epoch: unknown key. Did you mean 'epochs'?"),
        ({"training": {"epochs": "3"}}, "training.epochs: received '3'; input should be a valid integer."),
        ({"experiments": []}, "experiments: received []; tuple should have at least 1 item"),
        ({"experiments": [{"methd": "plain"}]}, "experiments.0.methd: unknown key. Did you mean 'method'?"),
        ({"experiments": [{}, {}]}, "experiments: two are called 'plain'; give each a name of its own."),
        ({"experiments": [{"each": {"bits": []}}]}, "experiments.0: each.bits: the list is empty;"),
        (
            {"training": {"learning_rate_decay": 0.9}},
            'training: learning_rate_decay: received 0.9, expected 1 beside schedule = "cosine"',
        ),
        (
            {"experiments": [{"name": "x", "each": {"model": [1, 2]}}]},
            "experiments.x: each.model: received 1; expected names, as in [",
        ),
        (
            {"experiments": [{"name": "x", "each": {"dataset": ["digits", 2.5]}}]},
            "experiments.x: each.dataset: received 2.5; expected names, as in [",
        ),
        ({"seeds": [1, 1]}, "seeds have to differ from each other."),
    ],
)
def test_bad_recipes(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(**{"experiments": [{}], **keys})
    assert str(caught.value).startswith(problem)


def test_a_recipe_has_a_number_of_experiments_that_can_be_run() -> None:
    """A product of lists is counted before it is made."""
    each = {key: list(range(1000)) for key in "abc"}
    with pytest.raises(InputError) as caught:
        parse({"each": each}, {"name": "one"}, seeds=[1, 2])
    expected = "experiments: 2,000,000,002 are more than a recipe may have, 10,000; use several recipes."
    assert str(caught.value) == expected
    assert len(parse({"each": {"a": list(range(100)), "b": list(range(100))}}).plan()) == 10_000


def test_a_recipe_names_plug_ins_as_a_scenario_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and a method by their paths, the model with an argument: 64 pixels, 8 and 4 units, 10 classes."""
    text = "from fedcompress.models.architectures.mlp import MLP\nfrom fedcompress.recipes.methods.plain import Plain\n"
    text += "class Mine(MLP): pass\nclass Way(Plain): pass\n"
    (tmp_path / "recipe_plug_ins.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    table = {
        "name": "x",
        "model": "recipe_plug_ins:Mine:8-4",
        "data": {"dataset": "fedcompress.data.datasets.digits:Digits"},
        "experiments": [{"method": "recipe_plug_ins:Way"}],
    }
    (task,) = Session(Recipe.parse(table)).tasks
    assert task.spec.parameters == 64 * 8 + 8 + 8 * 4 + 4 + 4 * 10 + 10
    assert type(task.method).__name__ == "Way"
    with pytest.raises(InputError, match=r"^data.dataset: unknown data set 'digit'. Did you mean 'digits'\?$"):
        Session(Recipe.parse({**table, "data": {"dataset": "digit:3"}}))

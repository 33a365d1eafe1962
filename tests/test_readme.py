"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import fedcompress
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.launch import run_one
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.recipes.recipe import Recipe
from fedcompress.recipes.runner import Session
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(after: str, language: str) -> str:
    """Returns the first code block of a language after a text."""
    found = re.search(rf"```{language}\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plug-in folder of the README, in a folder on the path."""
    for file in ("mine/clients/shy.py", "mine/strategies/patient.py"):
        path = tmp_path / file
        path.parent.mkdir(parents=True)
        path.write_text(block(f"`{file}`", "python"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "mine"


@pytest.mark.parametrize("strategy", ["patient", "mine.strategies.patient:Patient"])
def test_your_own_strategy_in_one_file(mine: Path, tmp_path: Path, strategy: str) -> None:
    overrides = {"groups.phone.client": "shy", "server.strategy": strategy, "rounds": 1, "training.epochs": 1}
    scenario = Scenario.load(ROOT / "scenarios" / "quickstart.toml", overrides)
    summary = run_one(scenario, tmp_path / "run", Options(plugins=(mine,)))
    assert summary["status"] == "completed"
    assert all(row["status"] == "ok" for row in RunDirectory(tmp_path / "run").rows("clients"))


def test_the_scenario_is_right() -> None:
    scenario = Scenario.parse(tomllib.loads(block("## A scenario", "toml")), {"data.dataset": "mnist-5k"})
    for _, single in scenario.runs():
        assert Experiment.load(single, Plugins()).clients


def test_the_recipe_is_right() -> None:
    recipe = Recipe.parse(tomllib.loads(block("## Compress one model", "toml")))
    assert len(Session(recipe).tasks) == 3 * 4
    table = README[README.index("## Compress one model") :]
    assert [name for name in Plugins().names("methods") if name != "plain" and f"`{name}`" not in table] == []


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios" / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_right_and_say_what_to_expect(path: Path) -> None:
    header = path.read_text().split("name =")[0]
    assert re.search(r"# Expect: .*\d", header)
    assert re.search(r"# Takes: .*\d", header)
    assert f"# Run: fedcompress compress {path.stem}" in header
    assert f"`{path.stem}`" in README
    assert Session(Recipe.load(path)).tasks


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_scenarios_are_right_and_say_what_to_expect(path: Path) -> None:
    header = path.read_text().split("name =")[0]
    assert re.search(r"# Expect: .*\d", header)
    assert re.search(r"# Takes: .*\d", header)
    assert re.search(rf"# Run: (fedcompress run scenarios/{path.name}|flwr run)", header)
    assert f"`{path.stem}`" in README
    for _, single in Scenario.load(path, {"data.dataset": "mnist-5k"}).runs():
        assert Experiment.load(single, Plugins()).clients


def test_stop_and_devices_are_right() -> None:
    table = tomllib.loads(block("**Early stop**", "toml")) | tomllib.loads(block("## Devices", "toml"))
    scenario = Scenario.parse({"name": "readme", **table})
    assert scenario.stop is not None
    assert scenario.groups[0].device in scenario.devices


def test_what_it_shows_in_python_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lines as they stand, with one round; of the sweep, that its name and its keys are known."""
    monkeypatch.chdir(tmp_path)
    lines = block("From Python", "python").replace("rounds=5", "rounds=1").splitlines()
    assert [line.startswith("runs = fedcompress.run_all(") for line in lines].count(True) == 1
    exec("\n".join(line for line in lines if not line.startswith("runs =")))
    with pytest.raises(InputError, match=r"iid-vs-noniid.*is a sweep of"):
        fedcompress.run("iid-vs-noniid", rounds=2)

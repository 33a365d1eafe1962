"""Finding out what there is: list, describe, keys, show --toml, doctor; and what they say of something unknown."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pseudo_terminal import PROGRAM, run_in_terminal

from fedcompress.cli.catalogue import KINDS_OF_ALL, Catalogue
from fedcompress.cli.doctor import gpus
from fedcompress.plugins import Plugins
from fedcompress.plugins.describing import papers
from fedcompress.plugins.interfaces import INTERFACES, imported_from, interface
from fedcompress.scenario import Scenario
from fedcompress.scenario.gallery import shipped
from fedcompress.scenario.keys import sections_of

Call = Callable[..., Any]


@pytest.mark.parametrize("kind", KINDS_OF_ALL)
def test_everything_that_is_listed_says_what_it_is(kind: str) -> None:
    """In one sentence; a plug-in without a docstring, or a scenario without a header, fails here."""
    catalogue = Catalogue(Plugins())
    for name in catalogue.names(kind):
        about = catalogue.about(kind, name)
        assert len(about) > 15, name
        assert "\n" not in about, name


def test_list_in_a_terminal(tmp_path: Path) -> None:
    seen = run_in_terminal([PROGRAM, "list", "partitions"], tmp_path)
    assert "iid           Equal sizes, examples at random." in seen.screen
    assert max(map(len, seen.screen)) <= 80


def test_a_plug_in_that_does_not_import_is_listed(call: Call, tmp_path: Path) -> None:
    """By what it says of itself: its module, or else its class."""
    for name, text in {
        "own": "'own: Of a file.'\nimport nothing_at_all",
        "bare": "class Bare:\n    '''Of a class.'''",
    }.items():
        path = tmp_path / "mine" / "models" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    lines = call("list", "models", "--plugins", "mine").out.splitlines()
    assert {"own            Of a file.", "bare           Of a class."} <= set(lines)


def test_every_interface_is_there_and_says_all_of_itself() -> None:
    """It can be imported from where it says, and no method of it is without a text."""
    for name in INTERFACES:
        assert hasattr(import_module(imported_from(name)), name), name
        assert [head for head, text in interface(name).methods.items() if not text] == [], name


def test_interfaces_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    classes = set(re.findall(r"^::: fedcompress\.[\w.]*\.([A-Z]\w*)$", page, re.MULTILINE))
    listed = re.findall(r"^::: fedcompress\.[a-z_.]+\n    options: .*members: \[(.*)\]\}$", page, re.MULTILINE)
    of_modules = {name for names in listed for name in names.split(", ") if not name.endswith("Error")}
    assert (len(classes) >= 3, len(of_modules) >= 20) == (True, True)
    assert classes | of_modules - {"State"} <= INTERFACES.keys()
    assert {"InputError", "PayloadError"} <= INTERFACES.keys()


def test_describe_an_interface(tmp_path: Path) -> None:
    seen = run_in_terminal([PROGRAM, "describe", "Federation"], tmp_path)
    lines = seen.screen
    assert lines[0] == "Federation: interface"
    assert "Import: from fedcompress.strategy import Federation" in lines
    assert "  cohort(fraction: float) -> list[ClientInfo]" in lines
    assert "      Runs an action on clients and returns their good replies, client 0 first," in lines
    assert "          action: Name of the action, or of each client's." in lines
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "words", [("--set", "rounds", "3"), ("--set=rounds", "3"), ("--set", "data.alpha", "0.5", "--seed", "1")]
)
def test_a_key_and_its_value_apart(call: Call, words: tuple[str, ...]) -> None:
    done = call("run", "quickstart", *words)
    assert done.code == 2
    meant = "data.alpha=0.5" if "data.alpha" in words else "rounds=3"
    assert done.err.endswith(f"Did you mean --set {meant}?\n")


def test_describe_a_plug_in(call: Call) -> None:
    done = call("describe", "fedprox")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "fedprox: client strategy"
    assert 'Paper: Li et al. 2020, "Federated optimization in heterogeneous networks"' in done.out
    assert 'Written: [[groups]] client = "fedprox"' in done.out
    assert "groups.NAME.params.mu = 0.01 [number ≥ 0]" in done.out


def test_describe_all_that_have_a_name(call: Call) -> None:
    titles = re.findall(r"^fedpkdg: (.+)$", call("describe", "fedpkdg").out, re.MULTILINE)
    assert titles == ["server strategy", "client strategy", "scenario"]
    assert re.findall(r"^fedpkdg: (.+)$", call("describe", "fedpkdg", "--kind", "clients").out, re.MULTILINE) == [
        "client strategy"
    ]


@pytest.mark.parametrize("name", ["phone-high", "quickstart", "private", "int8", "cifar10"])
def test_describe_fits_the_terminal(call: Call, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    done = call("describe", name)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{name}: ")
    assert re.search(r"^(Written|Run): ", done.out, re.MULTILINE)


def test_papers_are_found_as_docstrings_cite_them() -> None:
    text = 'By Diao, Ding & Tarokh 2021, "HeteroFL"; as in Chen et al., CVPR 2022, "Knowledge\ndistillation". In 2019?'
    assert papers(text) == ['Diao, Ding & Tarokh 2021, "HeteroFL"', 'Chen et al., CVPR 2022, "Knowledge distillation"']


def test_keys_are_those_of_the_scenario(call: Call) -> None:
    """Every key once, and each default is what an empty scenario has."""
    printed = json.loads(call("keys", "--json").out)
    names = [row["key"] for row in printed]
    assert len(set(names)) == len(names) == sum(len(section.keys) for section in sections_of(Scenario))
    assert all(row["meaning"] for row in printed if row["key"] != "sweep.variants")
    made = Scenario.parse({"name": "x"}).table()
    for row in printed:
        section, _, key = row["key"].rpartition(".")
        if section in ("data", "training", "server") and row["default"] is not None and key in made[section]:
            assert made[section][key] == row["default"], row["key"]


def test_keys_by_a_part_of_the_name_or_else_of_the_meaning(call: Call) -> None:
    assert "data.alpha = 0.5 [number > 0]" in call("keys", "alpha").out
    assert re.findall(r"^\[.*\]$", call("keys", "[privacy]").out, re.MULTILINE) == ["[privacy]"]
    assert "wire.CONTENT.feedback" in call("keys", "was left out").out
    assert "experiments" in call("keys", "--of", "recipe").out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["keys", "alhpa"], "keys alhpa: no key has it in its name or meaning. Did you mean 'alpha'?"),
        (["describe", "fedprx"], "describe fedprx: nothing is called so. Did you mean 'fedprox'?"),
        (["describe", "zzz"], "describe zzz: nothing is called so. What there is: fedcompress list."),
        (["describe", "fedavg", "--kind", "model"], "list model: unknown. Did you mean 'models'?"),
        (
            ["run", "quickstrat"],
            "quickstrat: no such file, and no scenario of that name ships. Did you mean 'quickstart'?",
        ),
    ],
)
def test_a_near_miss_is_suggested(call: Call, command: list[str], message: str) -> None:
    assert call(*command) == (2, "", f"error: {message}\n")


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_a_copied_scenario_is_the_one_that_ships(call: Call, path: Path) -> None:
    copy = call("show", "--toml", path.stem).out
    assert Scenario.parse(tomllib.loads(copy)) == Scenario.load(path)
    assert copy == path.read_text(encoding="utf-8")


def test_a_copy_with_what_is_set(call: Call) -> None:
    copy = call("show", "--toml", "iid-vs-noniid", "--set", "rounds=3", "--seed", 7).out
    scenario = Scenario.parse(tomllib.loads(copy))
    assert (scenario.rounds, scenario.sweep and scenario.sweep.seeds) == (3, (7,))


def test_gpus_are_those_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == [("none found", "models train on processors: no program nvidia-smi")]
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA T4, 15360 MiB'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    ((name, state),) = gpus()
    assert name == "NVIDIA T4, 15360 MiB"
    assert state == "ready" or "tensorflow[and-cuda]" in state
    program.write_text("#!/bin/sh\nexit 9\n")
    assert gpus() == [("none found", "models train on processors: nvidia-smi ended with 9")]


def test_doctor_says_what_a_missing_package_is_for(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcompress.cli.doctor.installed", lambda _: None)
    monkeypatch.setattr("fedcompress.cli.doctor._found", lambda *_: "ready")
    lines = call("doctor").out.splitlines()
    (ray,) = [line for line in lines if line.startswith("  ray ") and "engine" in line]
    assert ray.endswith(
        'missing, for --engine ray: runs of a sweep side by side, clusters: pip install "fedcompress[ray]"'
    )

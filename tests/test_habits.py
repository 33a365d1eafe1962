"""The page of habits says of ours only what a test runs: its tests are there, and its commands are known."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import shutil
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.specifiers import SpecifierSet

import fedcompress
from fedcompress.cli.app import command_line

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "explanation" / "habits.md").read_text(encoding="utf-8")
PEERS = ("Flower", "fluke", "FL-bench", "PFLlib", "pytest-benchmark", "W&B")


class Habit(NamedTuple):
    """A row of both tables: what it is, what is said of each tool, ours first, and what shows ours."""

    name: str
    said: tuple[str, ...]
    commands: tuple[str, ...]
    tests: tuple[str, ...]


def rows(*header: str) -> list[list[str]]:
    """Returns the cells of the table that has this header."""
    begin = f"| {' | '.join(header)} |\n"
    lines = PAGE[PAGE.index(begin) + len(begin) :].split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def habits() -> list[Habit]:
    judged = rows("habit", "fedcompress", *PEERS)
    shown = {name: (commands, tests) for name, commands, tests in rows("habit", "command of ours", "tests that run it")}
    assert list(shown) == [name for name, *_ in judged]
    words = {name: tuple(tuple(re.findall("`([^`]+)`", cell)) for cell in cells) for name, cells in shown.items()}
    return [Habit(name, tuple(said), *words[name]) for name, *said in judged]


@lru_cache
def names_in(file: str) -> set[str]:
    """Returns the names of the tests of a file, without importing it."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"}


def unknown_in(command: str) -> str:
    """Returns the part of a command that there is not, or nothing."""
    first, *words = shlex.split(command)
    if first == "make":
        return "" if f"\n{words[0]}:" in (ROOT / "Makefile").read_text(encoding="utf-8") else words[0]
    if first.startswith("fedcompress."):
        name = first.removeprefix("fedcompress.").split("(")[0]
        return "" if name in dir(fedcompress) else name
    if first != "fedcompress":
        return "" if first == "flwr" or (ROOT / first).is_file() else first
    found = command_line()
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    options = {option for parameter in found.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word not in options]
    if hasattr(found, "commands"):  # no command was named: then options of the program alone
        unknown += [word for word in words if not word.startswith("--")]
    return " ".join(unknown)


def test_every_habit_is_judged_for_every_tool() -> None:
    assert len(habits()) == 29
    for habit in habits():
        assert len(habit.said) == 1 + len(PEERS), habit.name
        assert {*habit.said} <= {"yes", "part", "code", "no", "?", "-"}, habit.name
        assert habit.said[0] in ("yes", "no"), habit.name
    assert [peer for peer in PEERS if f"\n### {peer}\n" not in PAGE] == []


@pytest.mark.parametrize("habit", habits(), ids=lambda habit: habit.name)
def test_a_habit_of_ours_has_a_command_and_a_test(habit: Habit) -> None:
    if habit.said[0] == "yes":
        assert habit.commands
        assert habit.tests
    for test in habit.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), test
        assert name in names_in(file), test
    assert [command for command in habit.commands if unknown_in(command)] == []


@pytest.mark.parametrize(
    ("command", "unknown"),
    [
        ("fedcompress comapre RUN", "comapre RUN"),
        ("fedcompress report RUN --figure DIR", "--figure"),
        ("fedcompress masks show --help", ""),
        ("fedcompress.rnu(SCENARIO)", "rnu"),
        ("make demos", "demos"),
        ("notebooks/second-run.ipynb", "notebooks/second-run.ipynb"),
    ],
)
def test_what_there_is_not_is_found(command: str, unknown: str) -> None:
    assert unknown_in(command) == unknown


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_one_command_sets_up_and_the_next_one_runs(tmp_path: Path) -> None:
    """What make would do, in a checkout where nothing is set up yet."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    # Under `make test` the outer make hands its own flags down: this one would say which folder it enters and leaves.
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    told = subprocess.run(["make", "-n", "demo"], cwd=tmp_path, capture_output=True, text=True, check=True, env=alone)
    *setup, run = told.stdout.splitlines()
    assert any(line.endswith("-m venv .venv") for line in setup)
    assert any(line.endswith("-c constraints.txt -e '.[dev]'") for line in setup)
    assert run == ".venv/bin/fedcompress run scenarios/quickstart.toml"


def test_what_is_pinned_installs_with_the_first_release_of_each_python() -> None:
    """Distributions stay behind: a package that asks for 3.11.5 cannot be installed with Debian 12's 3.11.2."""
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        with contextlib.suppress(PackageNotFoundError):  # an extra, or a package of another system
            about = metadata(name)
            same = about["Version"] == version
            assert not same or SpecifierSet(about.get("Requires-Python", "")).contains("3.11.0"), name


def test_the_first_result_was_there_within_a_minute() -> None:
    """As measured: the header says how long the whole command took, the table how long each seed's rounds."""
    page = (ROOT / "docs" / "results" / "quickstart.md").read_text(encoding="utf-8")
    whole = [float(seconds) for seconds in re.findall(r"\*\*Takes:\*\* (\d+) s on 2 cores", page)]
    rounds = [float(seconds) for seconds in re.findall(r"^\| quickstart \| \d .*\| ([\d.]+) s \|$", page, re.MULTILINE)]
    assert (len(whole), len(rounds)) == (1, 5)
    assert max(whole + rounds) < 60

"""Run directories: made by one process alone, and whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from unicodedata import normalize

import pytest

from fedcompress.errors import InputError
from fedcompress.files import shortened
from fedcompress.results.run.directory import RunDirectory, directory_name, file_names
from fedcompress.results.run.new_directory import new_directory

SCENARIO, PROVENANCE = "name = 'a'\n", {"start": "now"}
RUN = {"scenario.toml": SCENARIO, "provenance.json": json.dumps(PROVENANCE, indent=2) + "\n"}
RUN |= dict.fromkeys(("rounds.jsonl", "clients.jsonl", "ledger.jsonl"), "")
SWEEP = {"options.json": "{}", "scenario.toml": "name = 'a'\n[sweep]\n"}
RECIPE = {"options.json": "{}", "provenance.json": "{}", "recipe.toml": "name = 'a'\n"}


class Killed(BaseException):
    """Stands for SIGKILL."""


def contents(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir()} if path.exists() else {}


def killed_at(step: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Acts until a file is to be written or to get its name for the `step`-th time; says whether it came to that."""
    steps = [0]

    def counted(original: Callable[..., Any], half: bool) -> Callable[..., Any]:
        def call(self: Path, *arguments: Any, **named: Any) -> Any:
            steps[0] += 1
            if steps[0] == step:
                if half:
                    original(self, str(arguments[0])[:3], **named)
                raise Killed
            return original(self, *arguments, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", counted(Path.write_text, half=True))
        patched.setattr(Path, "replace", counted(Path.replace, half=False))
        try:
            act()
        except Killed:
            return True
    return False


MAKERS: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "run": (lambda path: RunDirectory.create(path, SCENARIO, PROVENANCE), RUN),
    "sweep": (lambda path: RunDirectory.made(path, SWEEP), SWEEP),
    "recipe": (lambda path: RunDirectory.made(path, RECIPE), RECIPE),
}


@pytest.mark.parametrize(("make", "whole"), MAKERS.values(), ids=MAKERS)
def test_killed_at_any_moment_it_is_made_anew_or_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], whole: dict[str, str]
) -> None:
    """Half of the moments come before all files are written: made anew. From then on, it can be completed as well."""
    completed = 0
    for step in range(1, 2 * len(whole) + 1):
        path = tmp_path / str(step)
        assert killed_at(step, lambda path=path: make(path), monkeypatch)
        assert contents(path) != whole
        completing = tmp_path / f"{step}-completed"
        completing.mkdir()
        for name, text in contents(path).items():
            (completing / name).write_text(text)
        RunDirectory(completing).finish_making()
        assert contents(completing) in (contents(path), whole)
        completed += contents(completing) == whole
        make(path)
        assert contents(path) == whole
        with pytest.raises(InputError, match="is in use; name a directory that is new or empty"):
            make(path)
    assert completed == len(whole) - 1
    assert not killed_at(2 * len(whole) + 1, lambda: make(tmp_path / "last"), monkeypatch)


@pytest.mark.parametrize(
    "files",
    [
        {"scenario.toml": "name = 'mine'\n"},
        {"scenario.toml": "", "rounds.jsonl": '{"round": 1}\n'},
        {"rounds.jsonl": "", "mine.txt": "precious"},
        {"options.json": "{}"},
        {".scenario.toml.part": "", "mine.txt": "precious"},
        {"recipe.toml": "", ".options.json.part": ""},
    ],
)
def test_what_may_be_anothers_is_left_alone(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="is in use"):
        RunDirectory.create(tmp_path, SCENARIO, PROVENANCE)
    RunDirectory(tmp_path).clear_unbegun()
    RunDirectory(tmp_path).finish_making()
    assert contents(tmp_path) == files


def test_one_process_alone_makes_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    with RunDirectory(path)._being_made(), pytest.raises(InputError, match="another process has just begun there"):
        RunDirectory.create(path, SCENARIO, PROVENANCE)
    assert contents(path) == {}
    RunDirectory.create(path, SCENARIO, PROVENANCE)


def test_runs_of_the_same_second_have_directories_of_their_own(tmp_path: Path) -> None:
    barrier = Barrier(8)

    def start(_: int) -> Path:
        barrier.wait()
        with new_directory("my run", root=tmp_path / "runs") as path:
            RunDirectory.create(path, SCENARIO, PROVENANCE)
            barrier.wait()
        return path

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(start, range(8)))
    assert len(set(paths)) == 8
    assert all(contents(path) == RUN for path in paths)
    assert all(path.name.startswith("my-run-2") for path in paths)


def test_a_directory_that_nothing_came_to_be_in_goes_again(tmp_path: Path) -> None:
    with pytest.raises(InputError), new_directory("a", root=tmp_path / "runs") as path:
        assert path.is_dir()
        raise InputError("the data set is damaged")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made: Not a directory; name another place with --out"):
        new_directory("a", root=tmp_path / "file").__enter__()


@pytest.mark.parametrize(
    "names",
    [
        ("lr=0.001 seed 1", "lr:0.001 seed 1", "lr 0.001 seed 1"),
        ("\u03b1 > 1", "\u03b1 < 1"),
        ("Fast", "fast", "FAST"),
        ("\ud55c", "\u1112\u1161\u11ab"),
        ("stra\u00dfe", "STRASSE"),
        ("a/b", "a\\b", "a?b", "a-b"),
    ],
)
def test_names_that_would_fall_together_are_told_apart(names: tuple[str, ...]) -> None:
    """On file systems that ignore case or the form of a character as well; the others keep their names."""
    files = file_names([*names, "alone seed 1"])
    folded = {normalize("NFKC", file.casefold()) for file in files.values()}
    assert len(folded) == len(names) + 1
    assert files["alone seed 1"] == "alone-seed-1"
    assert all(re.fullmatch(rf"{re.escape(directory_name(name))}-[0-9a-f]{{8}}", files[name]) for name in names)
    assert files == file_names(["alone seed 1", *reversed(names)])


def test_names_that_do_not_are_what_they_were() -> None:
    names = ["iid seed 1", "iid seed 11", "iid seed 1 seed 1", "\u03b1 0.5, β 2 seed 1"]
    assert list(file_names(names).values()) == [directory_name(name) for name in names]
    assert directory_name("\u03b1 0.5, β 2 seed 1") == "\u03b1-0.5-β-2-seed-1"


def test_a_long_name_is_cut_between_characters_and_stays_its_own() -> None:
    assert shortened("short", 5) == "short"
    long, other = "ä" * 100, "ä" * 99 + "ö"
    assert len(shortened(long, 50).encode()) <= 50
    assert shortened(long, 50).startswith("ä" * 20 + "-")
    assert shortened(long, 50) != shortened(other, 50)

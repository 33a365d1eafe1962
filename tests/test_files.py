"""Files that a user names: regular ones are read and written, in one step; everything else is left as it is."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fedcompress.errors import InputError
from fedcompress.files import check_output, read_text, write_text
from fedcompress.scenario.overrides import read_toml

KINDS = {"pipe": "a pipe", "socket": "a socket", "device": "a device", "link": "a pipe", "null": "a device"}


@pytest.fixture
def irregular(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """A pipe, a socket, a link to the pipe, /dev/zero, which has no end, and a link to /dev/null."""
    paths = {name: tmp_path / name for name in KINDS} | {"device": Path("/dev/zero")}
    os.mkfifo(paths["pipe"])
    paths["link"].symlink_to("pipe")
    paths["null"].symlink_to("/dev/null")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path)  # the path of a socket is short
        stack.enter_context(socket.socket(socket.AF_UNIX)).bind("socket")
        yield paths


@pytest.mark.parametrize("name", KINDS)
def test_what_may_have_no_end_is_neither_read_nor_written(irregular: dict[str, Path], name: str) -> None:
    path, before = irregular[name], os.lstat(irregular[name])
    with pytest.raises(OSError, match=f"it is {KINDS[name]}"):
        read_text(path)
    with pytest.raises(OSError, match=f"it is {KINDS[name]}"):
        write_text(path, "text")
    with pytest.raises(InputError, match=f"cannot be read: it is {KINDS[name]}. Expected a TOML scenario"):
        read_toml(path)
    with pytest.raises(InputError) as caught:
        check_output(path, "--plot")
    assert str(caught.value) == f"--plot {path}: is {KINDS[name]}; name a file that is new or a regular one."
    assert (os.lstat(path).st_ino, os.lstat(path).st_mode) == (before.st_ino, before.st_mode)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_text(tmp_path)
    with pytest.raises(InputError, match="is a directory; name a file"):
        check_output(tmp_path, "--out")
    with pytest.raises(OSError, match="it is a directory"):
        write_text(tmp_path, "text")


def test_a_link_to_a_file_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/file")
    for text in ("first", "second"):
        write_text(tmp_path / "link", text)
        assert (tmp_path / "folder" / "file").read_text() == text
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "link"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "file", "old")

    def full(self: Path, text: str, **_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("name", ["a" * 255, "\u00e9" * 127 + "a", "a" * 251 + ".csv"])
def test_a_name_as_long_as_a_file_system_holds_can_be_written(tmp_path: Path, name: str) -> None:
    check_output(tmp_path / name, "--out")
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(InputError, match="has a name of more than 255 bytes"):
        check_output(tmp_path / f"{name}a", "--out")


OUTPUTS: dict[str, tuple[str, ...]] = {
    "show --plot": ("show", "tiny.toml", "--plot"),
    "compare --out": ("compare", "run", "run2", "--out"),
    "report --out": ("report", "run", "--out"),
    "run --out": ("run", "tiny.toml", "--out"),
    "distill --out": ("distill", "--teacher", "mlp:4", "--student", "mlp:3", "--data", "digits", "--out"),
    "compress --out": ("compress", "--method", "plain", "--model", "mlp:3", "--data", "digits", "--out"),
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_no_command_writes_onto_what_is_no_file(
    command: str, call: Callable[..., Any], tiny_file: Path, irregular: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from results.conftest import write_run

    folder = tiny_file.parent
    write_run(folder / "run")
    write_run(folder / "run2", seed=2)
    (folder / "pipe").rename(folder / "pipe.html")
    (folder / "link").unlink()
    (folder / "link.html").symlink_to("pipe.html")
    for path, kind in (("pipe.html", "a pipe"), ("link.html", "a pipe"), ("/dev/null", "a device")):
        if command == "compare --out" and path == "/dev/null":
            continue  # a directory is expected where there is no suffix
        before = os.lstat(folder / path)
        done = call(*OUTPUTS[command], path)
        assert done.code == 2
        assert f"{command.split()[1]} {path}: is {kind}; name a " in done.err
        assert os.lstat(folder / path).st_ino == before.st_ino
    assert stat.S_ISFIFO((folder / "pipe.html").stat().st_mode)


@pytest.mark.parametrize("command", ["show --plot", "compare --out", "report --out", "run --out"])
def test_a_name_that_no_file_can_have_is_one_clear_error(
    command: str, call: Callable[..., Any], tiny_file: Path
) -> None:
    from results.conftest import write_run

    write_run(tiny_file.parent / "run")
    write_run(tiny_file.parent / "run2", seed=2)
    done = call(*OUTPUTS[command], "a" * 260 + ".html")
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert "more than 255 bytes" in done.err or "File name too long" in done.err
    assert done.err.count("\n") == 1
    for other in (("run", "b" * 300), ("compare", "b" * 300), ("resume", "b" * 300), ("show", "b" * 300 + ".toml")):
        done = call(*other)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "File name too long" in done.err

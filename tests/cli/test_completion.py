"""Completion, asked for as bash does it: a word comes apart at `=` and `:`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from fedcompress.cli import bash
from fedcompress.cli.app import command_line


def completed(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """Returns what bash gets for the last of these words."""
    monkeypatch.setenv("COMP_WORDS", " ".join(["fedcompress", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    shell = bash.WholeWords(command_line(), {}, "fedcompress", "_FEDCOMPRESS_COMPLETE")
    return shell.complete().split("\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "quick"], ["quickstart"]),
        (["run", "quickstart", "--track", ""], ["tensorboard", "wandb", "mlflow"]),
        (["compress", "--model", "resnet"], ["resnet-18", "resnet-20", "resnet-8"]),
        (["compress", "--method", "qa"], ["qap", "qat"]),
        (["distill", "--method", "ki"], [""]),
        (["list", "mo"], ["models"]),
        (["describe", "fedpro"], ["fedproto", "fedprox"]),
        (["describe", "--kind", "values", "int"], ["int4", "int8"]),
        (["keys", "training.learning_rate_"], ["training.learning_rate_decay"]),
        (["generate", "ref"], ["reference"]),
        (["generate", "small", "--until", "s"], ["student"]),
        (["new", "part"], ["partition"]),
    ],
)
def test_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], expected: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert completed(monkeypatch, *words) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (["server.coh"], ["server.cohort=", "server.cohort=1.0"]),
        (["groups.phone.spars"], ["groups.phone.sparsity=", "groups.phone.sparsity=0.0"]),
        (["groups.phone.client", "=", "fedp"], ["fedper", "fedpkdg", "fedproto", "fedprox"]),
        (["data.partition", "="], ["dirichlet", "feature", "iid", "natural", "pathological", "quantity", "shard"]),
        (["training.optimizer=a"], ["training.optimizer=adam"]),
        (["wire.deflate", "=", "f"], ["false"]),
        (["data.dataset", "=", "npz", ":", "x"], [""]),
    ],
)
def test_settings(monkeypatch: pytest.MonkeyPatch, word: list[str], expected: list[str]) -> None:
    assert completed(monkeypatch, "run", "quickstart", "--set", *word) == expected


def test_run_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "scenario.toml").write_text(tomli_w.dumps({"name": name}))
    monkeypatch.chdir(tmp_path)
    assert set(completed(monkeypatch, "resume", "")) == {"runs/first", "runs/second", "runs/"}
    assert completed(monkeypatch, "compare", "new", "=", "runs/f") == ["runs/first"]
    assert completed(monkeypatch, "report", "runs/s") == ["runs/second"]


IN_BASH = """
fedcompress --install-completion > told || exit 1
. ~/.bashrc
COMP_WORDS=(fedcompress run quick) COMP_CWORD=2
_fedcompress_completion fedcompress
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_in_a_new_bash_after_it_was_installed(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": path}
    done = subprocess.run(["bash", "-c", IN_BASH], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "quickstart\n"), done.stderr


def test_every_argument_and_option_has_help() -> None:
    def lacking(command: object, path: str) -> list[str]:
        inner = getattr(command, "commands", {})
        own = [f"{path} {p.name}" for p in getattr(command, "params", []) if not getattr(p, "help", None)]
        return own + [missing for name, below in inner.items() for missing in lacking(below, f"{path} {name}")]

    assert lacking(command_line(), "fedcompress") == []

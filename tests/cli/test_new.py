"""Templates run as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcompress.cli.discovery import Template

Call = Callable[..., Any]


def test_plug_ins_run_as_they_are_written(call: Call, tiny_file: Path, tmp_path: Path) -> None:
    """All five in one run; the messages say where each is, and how it is run."""
    for kind in Template:
        done = call("new", kind.value, f"my-{kind.value}")
        assert (done.code, done.err) == (0, "")
        assert (tmp_path / done.out.splitlines()[0]).is_file()
    for path in (tmp_path / "plugins").rglob("*.py"):
        assert "emplate" not in path.read_text()
    chosen = {
        "data.dataset": "my-dataset",
        "data.partition": "my-partition",
        "server.strategy": "my-strategy",
        "rounds": "1",
        **{f"groups.{group}.{key}": f"my-{key}" for group in ("dense", "pruned") for key in ("client", "model")},
    }
    settings = [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]
    done = call("run", tiny_file, "--plugins", "plugins", "--json", "--out", "out", *settings)
    assert done.code == 0, done.err
    assert "My-dataset" not in call("list", "datasets", "--plugins", "plugins").out


def test_a_scenario_runs_as_it_is_written(call: Call, tmp_path: Path) -> None:
    assert call("new", "scenario", "first").out == "first.toml\nrun it: fedcompress run first.toml\n"
    tiny = [
        "--set",
        "data.dataset=digits",
        "--set",
        "rounds=1",
        "--set",
        "data.clients=2",
        "--set",
        "evaluation.tflite=false",
    ]
    done = call("run", "first.toml", "--json", "--out", "out", *tiny)
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["client", "sgd"], "new client sgd: a client strategy that ships is called so."),
        (
            ["model", "My Model"],
            "new: received the name 'My Model'; expected lower-case words with hyphens between them, as in my-client, "
            "of at most 60 characters.",
        ),
        (["scenario", "tiny"], "tiny.toml: is there already; choose another name, or another folder with --out."),
    ],
)
def test_what_is_refused(call: Call, tiny_file: Path, arguments: list[str], message: str) -> None:
    before = sorted(tiny_file.parent.iterdir())
    assert call("new", *arguments) == (2, "", f"error: {message}\n")
    assert sorted(tiny_file.parent.iterdir()) == before

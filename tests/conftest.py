"""For every test that needs them: a tiny scenario (real digits of 8 x 8 pixels) and the command line in process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tomli_w
from hypothesis import HealthCheck, settings

from fedcompress import cli

# A job in the background starts with Ctrl-C ignored, and its children inherit that; tests send it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine fails no property.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def judged_by_few() -> Iterator[None]:
    """A run with a generator ends with the judgement of 10,000 samples, most of the time of a tiny one: here of 300."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedcompress.results.run.samples.DRAWN", 300)
        yield


@pytest.fixture
def tiny() -> dict[str, Any]:
    """A fresh table: two dense clients and a pruned one; without TFLite files, most of the time of so short a run."""
    return {
        "name": "tiny",
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 3},
        "evaluation": {"tflite": False},
        "groups": [
            {"name": "dense", "share": 0.67, "model": "mini-cnn"},
            {"name": "pruned", "share": 0.33, "model": "mini-cnn", "compression": "magnitude", "sparsity": 0.5},
        ],
    }


@pytest.fixture
def tiny_file(tiny: dict[str, Any], tmp_path: Path) -> Path:
    """The same as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(tiny), encoding="utf-8")
    return path


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Done]]:
    """Runs `fedcompress ARGUMENTS...` in this process, in the test's own folder, which no later test imports from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["fedcompress", *map(str, arguments)])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        return Done(code, *capsys.readouterr())

    yield run
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]

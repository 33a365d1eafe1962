"""Finding the processes that a test has started, wherever they have got to."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

Started = Callable[[], dict[int, str]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Returns process -> command line of what the test has started and is still alive, by a mark in the environment."""
    mark = uuid.uuid4().hex
    if not Path("/proc/self/environ").exists():
        pytest.skip("processes are found through /proc")
    monkeypatch.setenv("FEDCOMPRESS_TEST_MARK", mark)

    def alive() -> dict[int, str]:
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    return alive

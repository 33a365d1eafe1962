"""A tiny scenario for every test that needs one: real digits of 8 x 8 pixels, three clients in two groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w


@pytest.fixture
def tiny() -> dict[str, Any]:
    """A fresh table: of its clients two are dense and one is pruned."""
    return {
        "name": "tiny",
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 3},
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

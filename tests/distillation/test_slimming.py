"""A slim generator in a federation: what crosses, what is written down, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.errors import InputError
from fedcompress.generators.slim_compact import on
from federating import SLIM_GAN, experiment, run


def made(**overrides: Any) -> Any:
    return experiment(SLIM_GAN, **overrides)


def test_channels_leave_and_what_is_left_crosses(tmp_path: Path) -> None:
    made_up = made()
    summary, directory, _ = run(made_up, tmp_path / "run")
    rows, ledger = directory.rows("rounds"), directory.rows("ledger")
    print(rows)
    channels = [row["generator_channels"] for row in rows]
    assert 72 >= channels[0] > channels[-1] >= 2

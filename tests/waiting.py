"""Waiting for what other processes and threads do."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

HANG = 300.0
"""Seconds after which a test is taken to hang; a slow machine is waited for."""


def until(condition: Callable[[], object], limit: float = HANG) -> None:
    """Returns as soon as a condition holds; fails the test if that never comes."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"what was waited for has not come in {limit:g} s")
        time.sleep(0.02)

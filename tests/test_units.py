"""Numbers as a person reads them."""

from __future__ import annotations

from fedcompress.units import counted


def test_one_is_singular() -> None:
    counts = [counted(n, "round") for n in (0, 1, 2)] + [counted(n, "class", "classes") for n in (1, 10)]
    assert counts == ["0 rounds", "1 round", "2 rounds", "1 class", "10 classes"]

"""What a receiver lacks, and what of it arrives."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.wire import symbols
from fedcompress.wire.lacking import lacking, rounded, sizes_at, spread
from fedcompress.wire.shipped import SHIPPED

SIZES = np.array([40, 0, 25])
KNOWN = [np.array([0.5, -0.0] * 20, np.float32), np.empty(0, np.float32), np.full(25, 2, np.float32)]


def test_a_residual_is_added_to_the_difference() -> None:
    """3 - 1 + 0.5 = 2.5; the arrays stay as they are."""
    floats, known = [np.array([3.0], np.float32)], [np.array([1.0], np.float32)]
    assert lacking(floats, known, np.array([0.5], np.float32)).tolist() == [2.5]
    assert floats[0].tolist() == [3.0]


def test_places_are_counted_by_array() -> None:
    places = np.array([0, 39, 40, 64])
    assert sizes_at(places, SIZES).tolist() == [2, 0, 2]
    assert sizes_at(spread(np.ones(4, np.bool_), places, 65), SIZES).tolist() == [2, 0, 2]


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("known", [None, KNOWN])
def test_a_type_that_ships_makes_the_same_without_zeros(name: str, known: list[np.ndarray] | None) -> None:
    """Symbols, side information, sum and error to the bit, as if zeros had been rounded, too."""
    values, places = SHIPPED[name], np.array([1, 3, 7, 22, 41, 60])
    wanted = np.random.default_rng(1).normal(size=65).astype(np.float32)
    among = spread(wanted[places], places, 65)
    every, side, decoded = symbols.quantise(among, SIZES, values)
    total = decoded + (np.float32(0) if known is None else np.concatenate(known))
    got = rounded(wanted.copy(), places, known, None, SIZES, values, feedback=True)
    assert got.symbols.tobytes() == every[places].tobytes()
    assert [np.asarray(part).tobytes() for part in got.side] == [np.asarray(part).tobytes() for part in side]
    assert got.decoded.tobytes() == total.tobytes()
    assert got.error is not None
    assert got.error.tobytes() == (wanted - decoded).tobytes()

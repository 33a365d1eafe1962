"""Bools and integers."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.errors import PayloadError
from fedcompress.wire import exact


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (2, 0, 4)])
def test_round_trip(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    packed = exact.pack(array)
    assert len(packed) == exact.packed_size(shape, dtype)
    back = exact.unpack(memoryview(packed), shape, dtype)
    assert back.dtype == array.dtype
    assert back.shape == shape
    assert np.array_equal(back, array)


def test_golden() -> None:
    """Three bools in one byte from the top; integers little endian."""
    assert exact.pack(np.array([True, False, True])) == bytes([0b10100000])
    assert exact.pack(np.array([1, -2], np.int16)) == bytes([1, 0, 0xFE, 0xFF])


def test_bits_beyond_the_end_are_refused() -> None:
    with pytest.raises(PayloadError, match="beyond the last of 3"):
        exact.unpack(memoryview(bytes([0b10110000])), (3,), "bool")

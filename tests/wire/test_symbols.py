"""Value types: error bounds, extremes, and symbols that must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedcompress.errors import PayloadError
from fedcompress.wire.shipped import SHIPPED
from fedcompress.wire.stream import Reader
from fedcompress.wire.symbols import byte_planes, pack, packed_size, quantise, restore, unpack
from fedcompress.wire.value_type import Floats, Side
from fedcompress.wire.vector import joined, sizes_of, split

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
BITS = {"float32": 32, "float16": 16, "int8": 8, "int4": 4, "ternary": 8, "clustered": 8, "codebooks": 8}
FLOAT16_MAX = 65504
models = st.lists(arrays(np.float32, st.integers(0, 20), elements=finite), min_size=1, max_size=5)


def through(vectors: list[Floats], values: str) -> tuple[list[Floats], Side]:
    """Returns the vectors after quantising, packing and back, and the side information."""
    flat, sizes, kind = joined(vectors, np.float32), sizes_of([v.shape for v in vectors]), SHIPPED[values]
    symbols, side, decoded = quantise(flat, sizes, kind)
    packed = b"".join(pack(symbols, kind))
    assert len(packed) == packed_size(flat.size, kind) == (flat.size * BITS[values] + 7) // 8
    back = unpack(memoryview(packed), flat.size, kind)
    assert back.tobytes() == symbols.tobytes()
    taken = kind.take_side(Reader(kind.write_side(side)), len(sizes))
    kind.check(back, taken)
    restored = restore(back, taken, sizes, kind)
    assert restored.tobytes() == decoded.tobytes()
    return split(restored, [v.shape for v in vectors]), taken


@given(models)
def test_float32_is_exact(vectors: list[Floats]) -> None:
    """Bit for bit, but for negative zeros."""
    assert [v.tobytes() for v in through(vectors, "float32")[0]] == [(v + np.float32(0)).tobytes() for v in vectors]


@given(models)
def test_float16_is_within_half_a_unit_and_saturates(vectors: list[Floats]) -> None:
    """11 significant bits round with a relative error of 2^-11; below 2^-14 numbers are multiples of 2^-24."""
    for vector, decoded in zip(vectors, through(vectors, "float16")[0], strict=True):
        clipped = np.clip(vector, -FLOAT16_MAX, FLOAT16_MAX)
        assert np.all(np.abs(decoded - clipped) <= np.maximum(np.abs(clipped) * 2.0**-11, 2.0**-25))


@pytest.mark.parametrize(("values", "levels"), [("int8", 127), ("int4", 7)])
@given(vectors=models)
def test_integers_are_within_half_a_scale(vectors: list[Floats], values: str, levels: int) -> None:
    """Rounding to q is off by scale / 2 at most; q * scale rounds in float32, by levels * 2^-24 scale at most."""
    decoded, (scales,) = through(vectors, values)
    for vector, back, scale in zip(vectors, decoded, scales.astype(np.float64), strict=True):
        assert np.all(np.isfinite(back))
        assert np.all(np.abs(back.astype(np.float64) - vector) <= scale * (0.5 + levels * 2.0**-22))
        peak = np.abs(vector).max(initial=0)
        if peak > levels * 1.2e-38:
            assert scale == pytest.approx(peak / levels, rel=1e-6)


def test_int8_golden() -> None:
    """max 2.54 gives scale 0.02; 0.05 / 0.02 = 2.5 and 0.07 / 0.02 = 3.5 round half to even, up to float32."""
    flat = np.array([2.54, -2.54, 0.25, 0.0, -0.5], np.float32)
    symbols, (scales,), _ = quantise(flat, np.array([5]), SHIPPED["int8"])
    assert scales == pytest.approx([0.02])
    assert symbols.tolist() == [127, -127, 12, 0, -25]


def test_rounding_is_half_to_even() -> None:
    """max 7 gives scale 1 at int4."""
    symbols, *_ = quantise(np.array([7, 0.5, 1.5, 2.5, -0.5, -1.5], np.float32), np.array([6]), SHIPPED["int4"])
    assert symbols.tolist() == [7, 0, 2, 2, 0, -2]


def test_int4_golden_bytes() -> None:
    """Scale 1, symbols 7 1 | -1 (1111) -7 (1001) | 2: the first of two symbols is the low half of the byte."""
    symbols, (scales,), _ = quantise(np.array([7, 1, -1, -7, 2], np.float32), np.array([5]), SHIPPED["int4"])
    assert scales.tolist() == [1.0]
    assert pack(symbols, SHIPPED["int4"]) == [bytes([0x17, 0x9F, 0x02])]


def test_float32_planes_have_the_high_bytes_first() -> None:
    """1.0 is 3F800000, -2.0 is C0000000."""
    assert byte_planes(np.array([1, -2], "<f4")).tolist() == [[0x3F, 0xC0], [0x80, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize("values", list(SHIPPED))
@pytest.mark.parametrize("vector", [[], [0.0, 0.0], [1e-45, -1e-45], [3.4028235e38, -3.4028235e38], [1e-38, 3e38]])
def test_extremes_stay_finite(values: str, vector: list[float]) -> None:
    (decoded,), _ = through([np.array(vector, np.float32)], values)
    assert np.all(np.isfinite(decoded))
    if not any(vector):
        assert not decoded.any()


@pytest.mark.parametrize(
    ("data", "count", "values"),
    [
        (np.array([np.nan], "<f4"), 1, "float32"),
        (np.array([np.inf], "<f2"), 1, "float16"),
        (np.array([-128], "i1"), 1, "int8"),
        (np.array([0x08], "u1"), 2, "int4"),
        (np.array([0x80], "u1"), 2, "int4"),
        (np.array([0x10], "u1"), 1, "int4"),
    ],
)
def test_symbols_that_are_never_made_are_refused(data: Floats, count: int, values: str) -> None:
    kind = SHIPPED[values]
    planes = data.view(np.uint8).reshape(len(data), -1)[:, ::-1].T.tobytes()
    with pytest.raises(PayloadError):
        symbols = unpack(memoryview(planes), count, kind)
        kind.check(symbols, ())
        restore(symbols, (np.ones(1, np.float32),), np.array([count]), kind)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0, -0.0, 1e-40, 1e38])
def test_scales_that_are_never_made_are_refused(scale: float) -> None:
    with pytest.raises(PayloadError, match="1 of 2 scales"):
        SHIPPED["int8"].take_side(Reader(np.array([1, scale], "<f4").tobytes()), 2)

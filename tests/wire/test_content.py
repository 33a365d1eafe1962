"""Declarations, and what a sender may put into them."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.errors import InputError, PayloadError
from fedcompress.wire.content import ArraySpec, Content, weights_content


def test_weights_declare_their_mask() -> None:
    weights = [np.zeros((3, 2)), np.zeros(2, np.float16), np.zeros(4, np.int64)]
    contents = weights_content(weights, masked=(0,))
    assert [spec.dtype for spec in contents["weights"].arrays] == ["float32", "float32", "int64"]
    assert contents["weights"].mask == "mask"
    assert contents["mask"] == Content((ArraySpec((3, 2), "bool"),), lossless=True)
    assert contents["mask"].is_mask
    assert not contents["weights"].is_mask
    assert not Content(()).is_mask
    assert list(weights_content(weights)) == ["weights"]


def test_sizes_of_free_arrays() -> None:
    spec = ArraySpec((None, 28, 28), "uint8", limit=100)
    assert spec.most == 78_400
    assert spec.sized(7) == (7, 28, 28)
    with pytest.raises(PayloadError, match="length 101, expected at most 100"):
        spec.sized(101)


@pytest.mark.parametrize(
    ("shape", "dtype", "limit"),
    [((2, None), "float32", 5), ((None,), "float32", 0), ((None,), "float32", 2**32), ((2,), "float64", 0)],
)
def test_declarations_that_cannot_work_are_refused(shape: tuple[int | None, ...], dtype: str, limit: int) -> None:
    with pytest.raises(InputError):
        ArraySpec(shape, dtype, limit)


@pytest.mark.parametrize("masked", [(2,), (0, 0), (1,)])
def test_only_float_arrays_are_masked(masked: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"float arrays, which are \[0\]"):
        Content((ArraySpec((2,)), ArraySpec((2,), "int8")), mask="mask", masked=masked)


@pytest.mark.parametrize(
    ("array", "spec", "problem"),
    [
        (np.zeros((2, 3)), ArraySpec((3, 2)), r"weights\[0\] has shape \(2, 3\), expected \(3, 2\)"),
        (np.zeros(3), ArraySpec((3, 1)), r"weights\[0\] has shape \(3,\), expected \(3, 1\)"),
        (np.zeros(6), ArraySpec((None,), limit=5), "with at most 5 rows"),
        (np.zeros(3), ArraySpec((3,), "int64"), "has dtype float64, expected int64"),
        (np.zeros(3, np.int32), ArraySpec((3,), "int64"), "has dtype int32, expected int64"),
        (np.zeros(3, np.int32), ArraySpec((3,)), "expected floating-point numbers"),
        (np.array([1, np.nan, -np.inf]), ArraySpec((3,)), r"weights\[0\] holds 2 non-finite values of 3"),
        (np.array([1e300]), ArraySpec((1,)), "holds 1 non-finite values of 1"),
    ],
)
def test_what_is_not_as_declared_is_refused(array: np.ndarray, spec: ArraySpec, problem: str) -> None:
    with pytest.raises(PayloadError, match=problem):
        Content((spec,)).accept([array], "weights")


def test_the_number_of_arrays_is_checked() -> None:
    with pytest.raises(PayloadError, match="weights holds 1 array, expected 2"):
        Content((ArraySpec((1,)), ArraySpec((1,)))).accept([np.zeros(1)], "weights")


def test_wider_floats_are_converted() -> None:
    (array,) = Content((ArraySpec((2,)),)).accept([np.array([0.1, 2.0])], "weights")
    assert array.dtype == np.float32

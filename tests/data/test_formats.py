"""File formats: round trips on small files, and a clear error for every kind of damage."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fedcompress.data.formats import NPZ_ARRAYS, find_idx, read_idx, read_npz, read_table
from fedcompress.errors import InputError


def idx(array: NDArray[np.uint8]) -> bytes:
    """Returns the content of an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("gzipped", [True, False])
def test_idx_round_trip(tmp_path: Path, gzipped: bool) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(images)) if gzipped else idx(images))
    np.testing.assert_array_equal(read_idx(path, 3), images)


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (GOOD[:10], "is damaged"),
        (GOOD[:-1], r"23 bytes for shape \(2, 3, 4\)"),
        (GOOD + b"\0", r"25 bytes for shape"),
        (b"\0\0\x0d\x03" + GOOD[4:], "is damaged"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "is damaged"),  # the product of the lengths does not overflow
        (idx(np.zeros(3, np.uint8)), "with 3 dimensions"),
        (gzip.compress(GOOD)[:-12], "cannot be read"),
        (gzip.compress(GOOD)[:-8] + b"\0" * 8, "cannot be read"),  # checksum
        (b"\x1f\x8b" + b"rubbish", "cannot be read"),
    ],
)
def test_damaged_idx(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_find_idx_needs_all_four(tmp_path: Path) -> None:
    names = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte.gz"]
    for name in names:
        (tmp_path / name).touch()
    assert find_idx(tmp_path) is None
    (tmp_path / "t10k-labels-idx1-ubyte").touch()
    assert find_idx(tmp_path) == [tmp_path / name for name in [*names, "t10k-labels-idx1-ubyte"]]


@settings(deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 6))), st.sampled_from(["\n", "\r\n"]), st.booleans()
)
def test_table_round_trip(tmp_path_factory: pytest.TempPathFactory, table: np.ndarray, end: str, last: bool) -> None:
    path = tmp_path_factory.mktemp("table") / "file.csv"
    text = end.join(",".join(map(str, row)) for row in table.tolist()) + (end if last else "")
    path.write_bytes(text.encode())
    np.testing.assert_array_equal(read_table(path, table.shape[1]), table)


@pytest.mark.parametrize(
    "text",
    ["", "1,2", "1,2,3,4", "1,2,3\n1,2", "1,2\n3,4,5,6", "1,,3", "1,2,256", "1,2,1000", "1,-2,3", "1,a,3", "1, 2,3"],
)
def test_damaged_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"expected lines of 3 comma-separated integers in 0\.\.255"):
        read_table(path, 3)


def test_damaged_npz(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    path.write_bytes(b"PK\x03\x04rubbish")
    with pytest.raises(InputError, match="cannot be read"):
        read_npz(path, NPZ_ARRAYS)
    np.savez(path, x_train=np.zeros(1), other=np.zeros(1))
    with pytest.raises(InputError, match="no array y_train, x_test, y_test, only x_train, other"):
        read_npz(path, NPZ_ARRAYS)
    with path.open("wb") as file:
        np.save(file, np.zeros(1))
    with pytest.raises(InputError, match="holds one array"):
        read_npz(path, NPZ_ARRAYS)


def test_npz_with_objects_is_refused(tmp_path: Path) -> None:
    objects = np.array([{}, {}], dtype=object)
    np.savez(tmp_path / "file.npz", x=objects)
    with pytest.raises(InputError, match="allow_pickle"):
        read_npz(tmp_path / "file.npz", ["x"])

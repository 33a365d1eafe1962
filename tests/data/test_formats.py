"""File formats: round trips on small files, and a clear error for every kind of damage."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fedcompress.data import formats
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
        (gzip.compress(GOOD, mtime=0)[:-12], "cannot be read"),
        (gzip.compress(GOOD, mtime=0)[:-8] + b"\0" * 8, "cannot be read"),  # checksum
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


def npy(header: str, content: bytes = b"") -> bytes:
    """Returns a file of NumPy's format 1.0."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def zipped(path: Path, member: bytes, compression: int = ZIP_STORED) -> Path:
    with ZipFile(path, "w", compression) as archive:
        archive.writestr("x.npy", member)
    return path


def patched(path: Path, local: int, central: int, value: bytes) -> Path:
    """Replaces bytes at these offsets of the member's own header and of that in the archive's directory."""
    data = bytearray(path.read_bytes())
    for at in (local, data.index(b"PK\x01\x02") + central):
        data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


TERABYTES = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 8), }", bytes(64))
FLOATS = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (8,), }", bytes(range(64)))
NPZ: dict[str, tuple[Callable[[Path], object], str]] = {
    "a header of terabytes": (lambda p: zipped(p, TERABYTES), "has 64 bytes, and by its header 64,000,000,000,000"),
    "compressed": (lambda p: zipped(p, TERABYTES, ZIP_DEFLATED), "has 64 bytes, and by its header 64,000,000,000,000"),
    "a shorter header": (lambda p: zipped(p, FLOATS + b"\0"), "has 65 bytes, and by its header 64"),
    "a negative shape": (
        lambda p: zipped(p, npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", bytes(64))),
        "has 64 bytes, and by its header -8",
    ),
    "a header that is code": (lambda p: zipped(p, npy("__import__('os').abort()")), "malformed node or string"),
    "a deep header": (lambda p: zipped(p, npy("(" * 3000)), "cannot be read"),
    "another version": (
        lambda p: zipped(p, b"\x93NUMPY\x09\x00" + bytes(50)),
        r"has version \(9, 0\) of NumPy's format",
    ),
    "no array": (lambda p: zipped(p, b"text"), "cannot be read"),
    "encryption": (lambda p: patched(zipped(p, FLOATS), 6, 8, b"\1"), r"x\.npy is encrypted"),
    "an unknown compression": (
        lambda p: patched(zipped(p, FLOATS), 8, 10, b"\x63"),
        "compression method is not supported",
    ),
    "a size that cannot be": (
        lambda p: patched(zipped(p, FLOATS), 22, 24, b"\xff\xff\xff\x7f"),
        r"x\.npy says that it has 2,147,483,647 bytes, which it cannot have",
    ),
    "a size beyond deflate": (
        lambda p: patched(zipped(p, FLOATS, ZIP_DEFLATED), 22, 24, b"\xff\xff\xff\x7f"),
        r"x\.npy says that it has 2,147,483,647 bytes, which it cannot have",
    ),
    "another checksum": (lambda p: patched(zipped(p, FLOATS), 14, 16, b"\0\1\2\3"), "Bad CRC-32"),
    "a single array": (lambda p: p.write_bytes(TERABYTES), "holds one array"),
    "a pickle": (lambda p: p.write_bytes(b"\x80\x04cos\nabort\n)R."), "not a zip file"),
}


@pytest.mark.parametrize(("write", "message"), NPZ.values(), ids=NPZ)
def test_archives_that_are_not_what_they_say(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    """Found before anything of the size that they claim is allocated."""
    path = tmp_path / "file.npz"
    write(path)
    tracemalloc.start()
    with pytest.raises(InputError, match=message) as caught:
        read_npz(path, ["x"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith("expected a NumPy archive (np.savez) with the arrays x.")


@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA])
def test_each_compression_is_read_and_its_damage_found(tmp_path: Path, compression: int) -> None:
    path = zipped(tmp_path / "file.npz", FLOATS, compression)
    assert read_npz(path, ["x"])[0].tobytes() == bytes(range(64))
    data = bytearray(path.read_bytes())
    end = data.index(b"PK\x01\x02")
    for start in range(40, end, 7):
        broken = bytearray(data)
        broken[start : start + 6] = bytes(byte ^ 0x55 for byte in broken[start : start + 6])
        path.write_bytes(broken[:end] + data[end:])
        with pytest.raises(InputError, match="cannot be read"):
            read_npz(path, ["x"])
    path.write_bytes(data[: end - 5] + data[end:])
    with pytest.raises(InputError, match="cannot be read"):
        read_npz(path, ["x"])


def test_an_archive_larger_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.npz"
    np.savez_compressed(path, x=np.zeros(1000), other=np.zeros(10**6))
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 100, "SC_PHYS_PAGES": 80}[name])
    message = r"its arrays say that they have 8,128 bytes, more than the 8,000 of this machine's memory"
    with pytest.raises(InputError, match=message):
        read_npz(path, ["x"])
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 100, "SC_PHYS_PAGES": 90}[name])
    assert read_npz(path, ["x"])[0].shape == (1000,)


def test_of_a_bomb_no_more_is_read_than_its_header_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"it has 25 bytes for shape \(2, 3, 4\)"):
        read_idx(path, 3)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\0\1\0\0" * 3 + bytes(1000)))
    with pytest.raises(InputError, match=r"its header says that it has 281,474,976,710,656 bytes; expected .* at most"):
        read_idx(path, 3)
    monkeypatch.setattr(formats, "MOST", 1000)
    path.write_bytes(gzip.compress(b"1,2,3\n" * 200))
    with pytest.raises(InputError, match="it has more than 1,000 bytes; expected lines of 3 comma-separated integers"):
        read_table(path, 3)
    path.write_bytes(gzip.compress(b"1,2,3\n" * 166))
    assert read_table(path, 3).shape == (166, 3)

"""Small files in the formats of the data sets, and a home without any."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcompress.data import loading
from fedcompress.data.dataset import Dataset
from fedcompress.data.formats import IDX_FILES


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, no folder of data sets, no downloads, nothing kept from another test."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("FEDCOMPRESS_OFFLINE", "1")
    for variable in ("FEDCOMPRESS_DATA_DIR", "KERAS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    loading._loaded.cache_clear()
    yield folder
    loading._loaded.cache_clear()


@pytest.fixture
def small_arrays() -> list[NDArray[np.uint8]]:
    """20 training and 10 test images of 4 x 3 with their labels, in the order of `IDX_FILES`."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (count, 4, 3), dtype=np.uint8) for count in (20, 10)]
    labels = [(np.arange(count) % 10).astype(np.uint8) for count in (20, 10)]
    return [images[0], labels[0], images[1], labels[1]]


@pytest.fixture
def write_idx(small_arrays: list[NDArray[np.uint8]]) -> Callable[..., Path]:
    """Writes the four files of `small_arrays` into a folder."""

    def write(folder: Path, *, gzipped: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in zip(IDX_FILES, small_arrays, strict=True):
            content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
            (folder / (f"{name}.gz" if gzipped else name)).write_bytes(gzip.compress(content) if gzipped else content)
        return folder

    return write


@pytest.fixture
def balanced() -> Dataset:
    """600 training and 200 test examples of 10 classes; every image is filled with its own number modulo 256."""
    labels = np.arange(600) % 10
    images = np.broadcast_to((np.arange(600) % 256).astype(np.uint8)[:, None, None, None], (600, 2, 2, 1))
    return Dataset("balanced", images, labels, images[:200], labels[:200], 10)

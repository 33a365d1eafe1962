"""What a data set accepts, and where data sets are looked for."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.data.dataset import DataRoots, Dataset
from fedcompress.errors import InputError


def dataset(**changes: Any) -> Dataset:
    x, y = np.zeros((4, 2, 2, 1), np.uint8), np.array([0, 1, 0, 1])
    plain: dict[str, Any] = {"name": "d", "x_train": x, "y_train": y, "x_test": x[:2], "y_test": y[:2], "classes": 2}
    return Dataset(**plain | changes)


def test_arrays_are_normalised_and_read_only() -> None:
    x = np.zeros((4, 3, 2), np.float64)
    found = dataset(x_train=x, x_test=x[:2])
    assert found.x_train.shape == (4, 3, 2, 1)
    assert [a.dtype.name for a in (found.x_train, found.y_train, found.y_test)] == ["float32", "int32", "int32"]
    with pytest.raises(ValueError, match="read-only"):
        found.x_train[0] = 1
    x[0] = 1  # the caller's own array stays writable


def test_features_stay_two_dimensional() -> None:
    x = np.zeros((4, 7), np.float32)
    assert dataset(x_train=x, x_test=x[:2]).x_train.shape == (4, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros(4, np.uint8)}, r"shape \(4,\); expected \(n, h, w, c\)"),
        ({"x_train": np.zeros((0, 2, 2, 1), np.uint8)}, "train set is empty"),
        ({"x_train": np.zeros((4, 2, 2, 1), np.int64)}, "int64 inputs from 0 to 0; expected uint8"),
        ({"x_train": np.full((4, 2, 2, 1), np.nan)}, "16 inputs that are infinite or not a number"),
        (
            {"x_train": np.full((4, 2, 2, 1), 1e300)},
            r"inputs of up to 1e\+300, which float32 does not hold; scale them",
        ),
        ({"x_test": np.full((2, 2, 2, 1), -1e39)}, r"test set has inputs of up to 1e\+39, which float32 does not hold"),
        ({"x_train": np.full((4, 9), 3.5e38, np.longdouble)}, r"inputs of up to 3.5e\+38, which float32 does not hold"),
        ({"y_train": np.array([0, 1, 2, 0])}, "labels from 0 to 2; expected 0 to 1"),
        ({"y_train": np.array([0, -1, 1, 0])}, "labels from -1 to 1"),
        ({"y_train": np.zeros(4)}, "float64 labels"),
        ({"y_train": np.array([0, 1])}, "4 examples and 2 labels"),
        ({"x_test": np.zeros((2, 3, 3, 1), np.uint8)}, "expected the same"),
        ({"x_test": np.zeros((2, 2, 2, 1), np.float32)}, "expected the same"),
        (
            {"client_ids": np.array([0.0, 1, 1, 0])},
            r"client_ids are float64 of shape \(4,\); expected integers",
        ),
        ({"client_ids": np.array([0, 1])}, r"client_ids are int64 of shape \(2,\); .* one for each training example"),
    ],
)
def test_bad_arrays_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataset(**changes)


def test_client_ids_are_numbered_and_part_of_the_digest() -> None:
    named = dataset(client_ids=np.array(["writer 9", "writer 10", "writer 9", "x"]))
    assert named.client_ids is not None
    assert named.client_ids.tolist() == [1, 0, 1, 2]
    assert named.digest == dataset(client_ids=np.array([7, 3, 7, 100])).digest
    assert named.digest != dataset().digest
    with pytest.raises(ValueError, match="read-only"):
        named.client_ids[0] = 1


def test_what_float32_just_holds_is_kept() -> None:
    x = np.full((4, 7), np.finfo(np.float32).max, np.float64)
    found = dataset(x_train=x, x_test=-x[:2])
    assert found.x_train.max() == np.finfo(np.float32).max
    assert found.x_test.min() == np.finfo(np.float32).min


def test_every_problem_is_listed() -> None:
    with pytest.raises(InputError) as caught:
        dataset(y_train=np.zeros(4), x_test=np.zeros(2, np.uint8))
    assert len(caught.value.problems) == 2


def test_digest_depends_on_the_content_only() -> None:
    """SHA-256 over "2", then per array its name, dtype, shape and bytes, in the order of the fields."""
    expected = hashlib.sha256(b"2")
    for part, content in (
        (b"/x_train|u1(4, 2, 2, 1)", bytes(16)),
        (b"/y_train<i4(4,)", np.array([0, 1, 0, 1], "<i4").tobytes()),
        (b"/x_test|u1(2, 2, 2, 1)", bytes(8)),
        (b"/y_test<i4(2,)", np.array([0, 1], "<i4").tobytes()),
    ):
        expected.update(part + content)
    assert dataset().digest == expected.hexdigest()
    assert dataset(name="other", y_train=np.array([0, 1, 0, 1], np.uint8)).digest == expected.hexdigest()
    assert dataset(y_train=np.array([0, 1, 1, 1])).digest != expected.hexdigest()
    assert pickle.loads(pickle.dumps(dataset())).digest == expected.hexdigest()


def test_roots_are_tried_in_order(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("given", "environment"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("FEDCOMPRESS_DATA_DIR", str(tmp_path / "environment"))
    assert DataRoots(tmp_path / "given").folders("sub", known=[Path("/known")]) == [
        tmp_path / "given/sub",
        tmp_path / "given",
        tmp_path / "environment/sub",
        tmp_path / "environment",
        Path("/known"),
        home / ".keras/datasets/sub",
        home / ".keras/datasets",
        home / ".cache/fedcompress/sub",
        home / ".cache/fedcompress",
    ]


def test_roots_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("FEDCOMPRESS_OFFLINE", "0")
    roots = DataRoots()
    assert (roots.cache, roots.keras) == (tmp_path / "cache/fedcompress", tmp_path / "keras/datasets")
    assert not roots.offline


def test_a_folder_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"--data-dir is .*nowhere"):
        DataRoots(tmp_path / "nowhere")
    monkeypatch.setenv("FEDCOMPRESS_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"FEDCOMPRESS_DATA_DIR is .*nowhere"):
        DataRoots()

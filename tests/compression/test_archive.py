"""The archive of masks: what it retains, and that it trusts no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedcompress.compression.archive import FORMAT, Archive, entry
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.lenet5 import LeNet5
from fedcompress.models.architectures.mini_cnn import MiniCNN

MINI = ModelSpec("mini-cnn", MiniCNN(), (28, 28, 1), 10)


def kept(*channels: str) -> list[np.ndarray]:
    return [np.array([bit == "1" for bit in bits]) for bits in channels]


def test_the_best_of_each_sparsity_are_retained_and_read_back(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "masks", retained=2)
    halves = [kept("1100", "1100"), kept("1010", "1010"), kept("0110", "0110")]
    assert archive.add(entry(MINI, halves[0], 0.7, "digits"))
    assert archive.add(entry(MINI, halves[1], 0.9, "digits"))
    assert archive.add(entry(MINI, halves[2], 0.8, "digits"))
    assert not archive.add(entry(MINI, halves[0], 0.75, "digits"))
    assert archive.add(entry(MINI, kept("1000", "1000"), 0.5, "digits"))
    again = Archive(tmp_path / "masks", retained=2)
    assert [(e.sparsity, e.accuracy) for e in again.entries] == [(0.5, 0.9), (0.5, 0.8), (0.75, 0.5)]
    best = again.best(MINI, 0.5, "digits")
    assert best is not None
    assert all(np.array_equal(a, b) for a, b in zip(best.kept(MINI), halves[1], strict=True))
    assert again.best(MINI, 0.6, "digits") is None
    assert again.best(ModelSpec("lenet5", LeNet5(), (28, 28, 1), 10), 0.5, "digits") is None


def test_data_sets_share_a_file_and_nothing_else(tmp_path: Path) -> None:
    """Masks of one do not put out those of another, nor are its best; those of earlier versions stay."""
    earlier = (
        '{"accuracy": 0.99, "channels": {"conv2d": "1100", "conv2d_1": "1100"}, "classes": 10, "input": [28, 28, 1], '
        '"network": "mini-cnn", "sparsity": 0.5}'
    )
    path = tmp_path / "masks"
    path.write_text(f"{FORMAT}\n{earlier}\n")
    archive = Archive(path, retained=1)
    assert archive.add(entry(MINI, kept("1010", "1010"), 0.9, "mnist"))
    assert archive.add(entry(MINI, kept("0110", "0110"), 0.7, "fashion"))
    again = Archive(path, retained=1)
    assert [(e.data_digest, e.accuracy) for e in again.entries] == [("", 0.99), ("fashion", 0.7), ("mnist", 0.9)]
    for name, accuracy in (("mnist", 0.9), ("fashion", 0.7), ("digits", None)):
        best = again.best(MINI, 0.5, name)
        assert (best.accuracy if best else None) == accuracy


def test_a_mask_of_another_network_is_refused() -> None:
    made = entry(MINI, kept("1100", "1100"), 0.7, "digits")
    with pytest.raises(InputError, match="does not fit 'lenet5'"):
        made.kept(ModelSpec("lenet5", LeNet5(), (28, 28, 1), 10))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no archive of masks"),
        ("something else\n", "is no archive of masks"),
        (f"{FORMAT}\nnot json\n", "line 2: expected a mask as JSON"),
        (f'{FORMAT}\n{{"network": "a"}}\n', "line 2: expected a mask as JSON"),
        (
            f'{FORMAT}\n{{"network": "a", "input": [8], "classes": 2, "sparsity": 2, "accuracy": 0, "channels": {{}}}}',
            "line 2: expected strings of 0 and 1",
        ),
        (
            f'{FORMAT}\n{{"network": "a", "input": [8], "classes": 2, "sparsity": 0, "accuracy": 0, "channels": {{}}, '
            '"data_digest": 3}',
            "line 2: expected a string for data_digest, received 3",
        ),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "masks"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        Archive(path)

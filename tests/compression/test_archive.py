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
    assert archive.add(entry(MINI, halves[0], 0.7))
    assert archive.add(entry(MINI, halves[1], 0.9))
    assert archive.add(entry(MINI, halves[2], 0.8))
    assert not archive.add(entry(MINI, halves[0], 0.75))
    assert archive.add(entry(MINI, kept("1000", "1000"), 0.5))
    again = Archive(tmp_path / "masks", retained=2)
    assert [(e.sparsity, e.accuracy) for e in again.entries] == [(0.5, 0.9), (0.5, 0.8), (0.75, 0.5)]
    best = again.best(MINI, 0.5)
    assert best is not None
    assert all(np.array_equal(a, b) for a, b in zip(best.kept(MINI), halves[1], strict=True))
    assert again.best(MINI, 0.6) is None
    assert again.best(ModelSpec("lenet5", LeNet5(), (28, 28, 1), 10), 0.5) is None


def test_a_mask_of_another_network_is_refused() -> None:
    made = entry(MINI, kept("1100", "1100"), 0.7)
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
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "masks"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        Archive(path)

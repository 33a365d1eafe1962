"""Nested dicts and lists of arrays and plain values as one file: JSON for the shape, npy for the arrays, no pickle.

The file carries the digest of what it holds, so that damage anywhere in it is found before any of it is used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.formats import read_arrays
from fedcompress.errors import InputError

_ARRAY = "__array__"
_EMPTY = "__empty__"
"""Of an array without elements, of which a state may have one for each client: an entry of its own costs 0.1 ms."""
_TUPLE = "__tuple__"
_NOT_KEYS = (_ARRAY, _EMPTY, _TUPLE)
_HOLDS = "use arrays of numbers, numbers, strings, None, and lists, tuples and dicts of them"


def save_tree(path: Path, tree: Any) -> None:
    """Writes a tree in one step: the file is there whole, or as it was.

    Raises:
        TypeError: As `check_tree`.
    """
    arrays: list[NDArray[Any]] = []
    shape = np.frombuffer(json.dumps(_plain(tree, arrays, "state")).encode(), np.uint8)
    named: dict[str, Any] = {f"a{i}": a for i, a in enumerate(arrays)}
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez(file, shape=shape, **named, digest=_digest([shape, *arrays]))
    temporary.replace(path)


def check_tree(tree: Any) -> None:
    """Makes sure that `save_tree` can write a tree, without writing it.

    Raises:
        TypeError: The tree holds something that is neither array, number, string, bool, None, dict, list nor tuple; an
            array of objects, which only pickle could write; a key that is no string; or an integer of too many digits.
            Says what and, but for the last, where.
    """
    try:
        json.dumps(_plain(tree, [], "state"))
    except RecursionError:
        raise TypeError(f"state: is nested too deeply, or holds itself; {_HOLDS}") from None
    except ValueError:
        raise TypeError(f"state: an integer has more than {sys.get_int_max_str_digits()} digits; {_HOLDS}") from None


def load_tree(path: Path) -> Any:
    """Returns the tree of `save_tree`.

    Raises:
        InputError: The file is absent or damaged, or of a version that wrote no digest.
    """
    expected = "a file that a run has written"
    stored = read_arrays(path, None, expected)
    if "shape" in stored and "digest" not in stored:
        raise InputError(f"{path}: has no digest: an earlier version of fedcompress wrote it. Start a new run.")
    try:
        shape, arrays = stored["shape"], [stored[f"a{i}"] for i in range(len(stored) - 2)]
        if not np.array_equal(stored["digest"], _digest([shape, *arrays])):
            raise InputError(f"{path}: is damaged: its content does not have the digest that it names.")
        return _restored(json.loads(shape.tobytes()), arrays)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error!r}; expected {expected}.") from None


def _digest(arrays: Iterable[NDArray[Any]]) -> NDArray[np.uint8]:
    """Returns SHA-256 over types, shapes and values, as bytes."""
    digest = sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return np.frombuffer(digest.digest(), np.uint8)


def _plain(node: Any, arrays: list[NDArray[Any]], where: str) -> Any:
    if isinstance(node, np.ndarray | np.generic):
        if node.dtype.hasobject or isinstance(node, np.ma.MaskedArray):
            kind = "a masked array" if isinstance(node, np.ma.MaskedArray) else f"an array of {node.dtype}"
            raise TypeError(f"{where}: {kind} cannot be kept; {_HOLDS}")
        if not node.size and node.dtype.names is None:
            return {_EMPTY: [node.dtype.str, list(node.shape)]}
        arrays.append(np.asarray(node))
        return {_ARRAY: len(arrays) - 1}
    if isinstance(node, dict):
        if odd := [key for key in node if not isinstance(key, str) or key in _NOT_KEYS]:
            raise TypeError(f"{where}: keys have to be strings, other than {', '.join(_NOT_KEYS)}; received {odd[:3]}")
        return {key: _plain(item, arrays, f"{where}.{key}") for key, item in node.items()}
    if isinstance(node, list | tuple):
        items = [_plain(item, arrays, f"{where}[{i}]") for i, item in enumerate(node)]
        return {_TUPLE: items} if isinstance(node, tuple) else items
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"{where}: a {type(node).__name__} cannot be kept; {_HOLDS}")


def _restored(node: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    if isinstance(node, dict):
        if _ARRAY in node:
            return arrays[node[_ARRAY]]
        if _EMPTY in node:
            dtype, shape = node[_EMPTY]
            return np.empty(shape, dtype)
        if _TUPLE in node:
            return tuple(_restored(item, arrays) for item in node[_TUPLE])
        return {key: _restored(item, arrays) for key, item in node.items()}
    return [_restored(item, arrays) for item in node] if isinstance(node, list) else node

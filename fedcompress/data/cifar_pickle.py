"""Reads CIFAR's Python version, which is pickled, without trusting it.

A pickle may call any function that it names. Here the names that a NumPy array needs stand for small records of
ours, and every other name is refused: nothing outside this module is ever called.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import damaged


class _Record:
    """Stands for an array or a dtype: keeps what the pickle would have passed to it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _encoded(text: str, encoding: str) -> bytes:
    """Stands for `codecs.encode`, by which pickles of protocol 2 hold bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Record,
    ("numpy._core.multiarray", "_reconstruct"): _Record,
    ("numpy", "ndarray"): _Record,
    ("numpy", "dtype"): _Record,
    ("_codecs", "encode"): _encoded,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _STAND_INS[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}") from None


def read_batch(content: bytes, path: Path, labels: bytes = b"labels") -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns images (n, 3072) and labels (n,) of one pickled batch.

    Args:
        content: The pickle: a dict with the array b"data" and a list of labels.
        path: For the error.
        labels: Key of that list.

    Raises:
        InputError: It is anything else.
    """
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        _, shape, dtype, fortran, data = batch[b"data"].state
        if dtype.arguments[0] not in ("u1", b"u1") or fortran:
            raise ValueError("its array is not of unsigned bytes")
        return np.frombuffer(data, np.uint8).reshape(shape), np.array(batch[labels], np.uint8)
    except Exception as error:  # damaged bytes make the unpickler raise nearly anything
        raise damaged(path, f"{type(error).__name__}: {error}", "a batch of CIFAR's Python version") from error

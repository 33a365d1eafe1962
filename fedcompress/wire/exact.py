"""Arrays that travel as they are: bools as bits, integers and floats little endian."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire.vector import Shape, finite


def pack(array: NDArray[Any]) -> bytes:
    """Returns the bytes to send."""
    if array.dtype == np.bool_:
        return np.packbits(array).tobytes()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def packed_size(shape: Shape, dtype: str) -> int:
    """Returns the number of bytes that `pack` makes of such an array."""
    return (prod(shape) + 7) // 8 if dtype == "bool" else prod(shape) * np.dtype(dtype).itemsize


def unpack(data: memoryview, shape: Shape, dtype: str) -> NDArray[Any]:
    """Undoes `pack`.

    Raises:
        PayloadError: Unused bits are set, or a number is not finite.
    """
    if dtype == "bool":
        return unpack_bits(data, prod(shape)).reshape(shape)
    native = np.dtype(dtype)
    numbers = np.frombuffer(data, native.newbyteorder("<")).astype(native)
    if native.kind == "f" and not finite(numbers):
        raise PayloadError(f"a value is not finite, of {numbers.size}")
    return numbers.reshape(shape)


def unpack_bits(data: memoryview, size: int) -> NDArray[np.bool_]:
    """Returns the first `size` bits of `(size + 7) // 8` bytes.

    Raises:
        PayloadError: Others are set.
    """
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).view(np.bool_)
    if bits[size:].any():
        raise PayloadError(f"bits beyond the last of {size} elements are set")
    return bits[:size]

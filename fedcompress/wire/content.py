"""What travels between server and clients: named contents, declared by the side that will decode them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from math import prod
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import InputError, PayloadError
from fedcompress.units import counted

if TYPE_CHECKING:
    from fedcompress.wire.value_type import ValueType

Arrays = list[NDArray[Any]]
Payload = Mapping[str, Arrays]
"""Content name -> arrays: "weights", "mask", "head", "generator", "logits", ..."""

Kind = Literal["learned", "statistic", "constant"]
"""What training does to an array: it follows a gradient ("learned"), it changes without one, as the moving averages of
batch normalisation do ("statistic"), or it stays as it is, as in a frozen layer ("constant")."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_EXACT_DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@dataclass(frozen=True)
class ArraySpec:
    """Shape, dtype and kind of one array, known before anything is decoded.

    Attributes:
        shape: A dimension is None where its length is free; only the first may be.
        dtype: NumPy name: "float32", "bool", or an integer type.
        limit: Largest length of a free first dimension.
        kind: A wire format may round what is learned. A statistic crosses as it is, each time. A constant crosses as it
            is, and once: after that both ends hold it.
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    limit: int = 0
    kind: Kind = "learned"

    def __post_init__(self) -> None:
        if self.dtype != "float32" and self.dtype not in _EXACT_DTYPES:
            raise InputError(f"An array is declared as {self.dtype!r}; expected float32, {', '.join(_EXACT_DTYPES)}.")
        if any(length is None for length in self.shape[1:]) or (self.free and not 0 < self.limit < 2**32):
            raise InputError(
                f"An array is declared with shape {self.shape} and limit {self.limit}; only the first length may be "
                "free (None), and then needs a limit from 1 to 4294967295."
            )
        if self.kind not in KINDS:
            raise InputError(f"An array is declared as {self.kind!r}; expected {', '.join(KINDS)}.")
        if self.free and self.kind == "constant":
            raise InputError(f"An array of shape {self.shape} is declared as constant; expected a known length.")

    @property
    def free(self) -> bool:
        """Whether the first length travels with the content."""
        return bool(self.shape) and self.shape[0] is None

    @property
    def floating(self) -> bool:
        """Whether the array holds real numbers."""
        return self.dtype == "float32"

    @property
    def lossy(self) -> bool:
        """Whether a wire format may round the array or leave some of it out: learned real numbers, and nothing else."""
        return self.floating and self.kind == "learned"

    @property
    def most(self) -> int:
        """Largest number of elements that the array can have."""
        return prod(self.limit if length is None else length for length in self.shape)

    def sized(self, length: int) -> tuple[int, ...]:
        """Returns the shape with its free first length filled in.

        Raises:
            PayloadError: `length` is above the limit.
        """
        if length > self.limit:
            raise PayloadError(f"an array has length {length}, expected at most {self.limit}")
        return tuple(length if size is None else size for size in self.shape)


@dataclass(frozen=True)
class Content:
    """What a named content is.

    Attributes:
        arrays: One spec per array, in order.
        lossless: Labels, masks, heads: never quantised unless the scenario says so by name.
        mask: Name of the content that says which elements of this one are kept, if any.
        masked: Positions in `arrays` that the mask covers; the mask content has one bool array for each of them.
        kept: Both ends keep the last one exchanged, and the same again crosses as its digest. Masks are kept anyway.
        delta: Each is close to the one before, so that the difference to the last that the server sent may cross.
        value_types: Of the learned floats that may arrive; None for any that ships.
        compressed: Value type of a content that is made for few bits and has parts that are left out: it crosses so,
            and without its zeros, unless its own settings say otherwise. None for one that follows `[wire]`.
    """

    arrays: tuple[ArraySpec, ...]
    lossless: bool = False
    mask: str | None = None
    masked: tuple[int, ...] = ()
    kept: bool = False
    delta: bool = False
    value_types: tuple[ValueType, ...] | None = None
    compressed: ValueType | None = None

    def __post_init__(self) -> None:
        if (self.kept or self.delta) and (self.is_mask or any(spec.free for spec in self.arrays)):
            declared = "kept" if self.kept else "delta"
            raise InputError(f"A content is declared as {declared}; expected arrays of known lengths, and no mask.")
        if len(set(self.masked)) != len(self.masked) or not set(self.lossy).issuperset(self.masked):
            raise InputError(
                f"Positions {self.masked} are declared as masked; expected distinct positions of learned "
                f"float arrays, which are {list(self.lossy)}."
            )

    @cached_property
    def constants(self) -> tuple[int, ...]:
        """Positions of the arrays that never change."""
        return tuple(i for i, spec in enumerate(self.arrays) if spec.kind == "constant")

    @cached_property
    def lossy(self) -> tuple[int, ...]:
        """Positions of the arrays that a wire format may round, or leave some of out."""
        return tuple(i for i, spec in enumerate(self.arrays) if spec.lossy)

    @cached_property
    def unmasked(self) -> Content:
        """The same where its mask is not sent with it."""
        return replace(self, mask=None, masked=())

    @cached_property
    def is_mask(self) -> bool:
        """Whether the content is a mask itself: bool arrays and nothing else."""
        return bool(self.arrays) and all(spec.dtype == "bool" for spec in self.arrays)

    def accept(self, arrays: Arrays, name: str) -> Arrays:
        """Returns the arrays in their declared dtypes, ready to be encoded.

        Raises:
            PayloadError: The arrays are not what is declared, or hold values that are not finite.
        """
        if len(arrays) != len(self.arrays):
            raise PayloadError(f"{name} holds {counted(len(arrays), 'array')}, expected {len(self.arrays)}.")
        return [
            _accepted(array, spec, f"{name}[{i}]")
            for i, (array, spec) in enumerate(zip(arrays, self.arrays, strict=True))
        ]


def _accepted(array: NDArray[Any], spec: ArraySpec, name: str) -> NDArray[Any]:
    array = np.asarray(array)
    shape = array.shape
    fits = len(shape) == len(spec.shape) and all(
        want is None or want == n for want, n in zip(spec.shape, shape, strict=True)
    )
    if not fits or (spec.free and shape[0] > spec.limit):
        limit = f" with at most {spec.limit} rows" if spec.free else ""
        raise PayloadError(f"{name} has shape {shape}, expected {spec.shape}{limit}.")
    if not spec.floating:
        if array.dtype != spec.dtype:
            raise PayloadError(f"{name} has dtype {array.dtype}, expected {spec.dtype}.")
        return array
    if array.dtype.kind != "f":
        raise PayloadError(f"{name} has dtype {array.dtype}, expected floating-point numbers.")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    finite = np.isfinite(array)
    if not finite.all():
        bad = int(array.size - np.count_nonzero(finite))
        raise PayloadError(f"{name} holds {bad} non-finite values of {array.size}; only finite values are sent.")
    return array


def weights_content(
    arrays: Arrays, masked: tuple[int, ...] = (), kinds: Sequence[Kind] | None = None
) -> dict[str, Content]:
    """Declares a model's "weights" and the "mask" over its prunable arrays.

    Args:
        arrays: Weights of the architecture, for their shapes.
        masked: Positions of the prunable arrays.
        kinds: What training does to each array (`ModelSpec.kinds`); None if all are learned.
    """
    declared: Sequence[Kind] = ["learned"] * len(arrays) if kinds is None else kinds
    specs = tuple(
        ArraySpec(tuple(np.shape(a)), _declared_dtype(np.asarray(a).dtype), kind=kind)
        for a, kind in zip(arrays, declared, strict=True)
    )
    contents = {"weights": Content(specs, mask="mask" if masked else None, masked=masked)}
    if masked:
        contents["mask"] = Content(tuple(ArraySpec(specs[i].shape, "bool") for i in masked), lossless=True)
    return contents


def _declared_dtype(dtype: np.dtype[Any]) -> str:
    return "float32" if dtype.kind == "f" else str(dtype)


def digest(arrays: Arrays) -> str:
    """Returns the SHA-256 of arrays, bytes and shapes."""
    total = sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return total.hexdigest()

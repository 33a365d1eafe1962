"""Interface of a value type: what a real number is on the wire. One subclass per file in `wire/values/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fedcompress.wire.vector import Sizes

if TYPE_CHECKING:
    from fedcompress.wire.stream import Reader

Floats = NDArray[np.float32]
Symbols = NDArray[Any]
Side = tuple[NDArray[Any], ...]
"""What the symbols of a content need beside them, such as a scale for each array or a codebook."""

LONGEST_NAME: Final = 64
PACKED_BITS: Final = (1, 2, 4)
_DTYPES: Final = ("i1", "u1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4")


@dataclass(unsafe_hash=True)
class ValueType(ABC):
    """How real numbers become symbols, and what symbols stand for.

    All arrays of a content are handled as one vector, with their sizes, so that a model costs a few NumPy calls however
    many layers it has. A zero is symbol 0, and symbol 0 is a zero, since sparse streams leave zeros out.

    What is made depends on nothing but the numbers, so that any engine and a resumed run make the same bits. A type
    that rounds at random seeds its generator with the numbers themselves.

    Args:
        argument: What follows the colon in a scenario, as in "levels:3". A type with an `argument_name` looks at it in
            `__post_init__`, and raises ValueError if it is wrong.

    Example: the upper half of a float32, rounded half to even.

        class BFloat16(ValueType):
            name = "bfloat16"
            dtype = "<u2"

            def quantise(self, flat, sizes):
                bits = np.clip(flat, -3.38e38, 3.38e38).view("<u4")
                upper = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
                return np.where(upper == 0x8000, 0, upper).astype("<u2"), ()

            def restore(self, symbols, side, sizes):
                return np.left_shift(symbols, 16, dtype="<u4").view(np.float32)
    """

    name: ClassVar[str] = ""
    """How a stream tells the type, whatever its file is called: at most 64 printable ASCII characters, no colon."""
    code: ClassVar[int | None] = None
    """Number of a type that ships, in its place in a header. Any other type has None: it travels by its name, since a
    number could be that of two."""
    argument_name: ClassVar[str] = ""
    """What follows the colon in a scenario, for example "LEVELS"; empty if nothing may."""
    dtype: ClassVar[str] = "i1"
    """NumPy dtype of a symbol, little endian; "i1" for small integers of either sign, which entropy coding knows."""
    bits: ClassVar[int] = 0
    """Bits to which a symbol of one byte is packed, 1, 2 or 4; 0: it is sent as its dtype is."""
    signs: ClassVar[bool] = False
    """Whether the symbols are -1, 0 and 1, so that without zeros an entropy coder sends a bit each."""
    few: ClassVar[bool] = False
    """Whether the type is for the few values of a difference that `top_k` selects, and too coarse for all."""
    limit: ClassVar[float] = inf
    """Largest magnitude, to which larger ones are cut off without a word; `saturated` counts them."""

    argument: str = ""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if not cls.__module__.startswith("fedcompress.wire.values."):
            cls.code = None  # also where a type that ships is the base class

    @abstractmethod
    def quantise(self, flat: Floats, sizes: Sizes) -> tuple[Symbols, Side]:
        """Rounds numbers.

        Args:
            flat: All arrays one after the other, with shape (n,); finite. Not to be changed.
            sizes: Elements of each array; some may be 0.

        Returns:
            One symbol per element, with shape (n,) and `dtype`, and what is sent beside them.
        """

    @abstractmethod
    def restore(self, symbols: Symbols, side: Side, sizes: Sizes) -> Floats:
        """Returns the numbers that symbols stand for, float32 with shape (n,); `symbols` itself if it is that.

        Numbers that are not finite are refused by who calls it.
        """

    def check(self, symbols: Symbols, side: Side) -> None:  # noqa: B027  any symbol may be legal
        """Looks at symbols and side information that have been received; nothing about them is trusted.

        Raises:
            PayloadError: `quantise` never makes such.
        """

    def write_side(self, side: Side) -> bytes:
        """Returns the bytes of the side information; none unless a type has some."""
        return b""

    def take_side(self, reader: Reader, arrays: int) -> Side:
        """Undoes `write_side`: takes its bytes off the front of what was received.

        Args:
            reader: Gives the next n bytes by `take(n)`, and refuses to go beyond the end.
            arrays: Number of arrays.

        Raises:
            PayloadError: They are not what `write_side` makes.
        """
        return ()

    def most_side_bytes(self, arrays: int) -> int:
        """Returns the length that `write_side` never exceeds for so many arrays."""
        return 0

    def side_bits(self, side: Side) -> float:
        """Returns the entropy of the side information, for the ledger's bound; all of its bits unless a type knows."""
        return 8.0 * len(self.write_side(side))

    def saturated(self, symbols: Symbols) -> int:
        """Returns how many symbols stand for `limit` or its negative."""
        return 0

    def with_clusters(self, clusters: int) -> ValueType:
        """Returns the type for a codebook of so many values beside zero; itself unless it has one."""
        return self

    def __str__(self) -> str:
        """Returns how a header tells the type: its name, and its argument where it has one."""
        return f"{self.name}:{self.argument}" if self.argument else self.name

    def problems(self) -> Iterable[str]:
        """Yields what is wrong with the declaration."""
        if not (self.name.isascii() and self.name.isprintable() and self.name) or ":" in self.name:
            yield f"{type(self).__name__}.name is {self.name!r}; expected printable ASCII characters, no colon"
        elif len(str(self)) > LONGEST_NAME or not (str(self).isascii() and str(self).isprintable()):
            yield f"its name is {str(self)!r}; expected at most {LONGEST_NAME} printable ASCII characters"
        if self.dtype not in _DTYPES:
            yield f"{type(self).__name__}.dtype is {self.dtype!r}; expected one of {', '.join(_DTYPES)}"
        elif self.bits and (self.bits not in PACKED_BITS or np.dtype(self.dtype).itemsize > 1):
            yield f"{type(self).__name__}.bits is {self.bits}; expected 1, 2 or 4 for a symbol of one byte, or 0"

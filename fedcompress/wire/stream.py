"""The frame around a content's values.

Stream: header byte | digest of the reference (masks only) | free lengths, 4 bytes each | body, deflated or not.
Header: value type (2 bits), layout (2), deflate (1), format version (3).

Whoever decodes has declared the content, so the stream carries no shapes or dtypes, and each length in it is checked
before anything of that length is allocated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal, get_args

from fedcompress.errors import InputError, PayloadError, suggestion
from fedcompress.wire.content import Content
from fedcompress.wire.deflate import deflate, inflate
from fedcompress.wire.values import VALUE_TYPES, ValueType
from fedcompress.wire.vector import Shape, Shapes

Codec = Literal["dense", "sparse"]
CODECS: Final[tuple[Codec, ...]] = get_args(Codec)
FORMAT_VERSION: Final = 1
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True)
class Encoding:
    """How a content becomes bytes.

    Attributes:
        codec: "sparse" leaves out what is known or coded to be zero, "dense" sends every value.
        values: Value type of floats; everything else travels exactly.
        deflate: Whether the body is deflated where that makes it smaller.
    """

    codec: Codec = "dense"
    values: ValueType = "float32"
    deflate: bool = True

    def __post_init__(self) -> None:
        for what, received, known in (("codec", self.codec, CODECS), ("value type", self.values, VALUE_TYPES)):
            if received not in known:
                raise InputError(f"{received!r} is no {what} of the wire format.{suggestion(str(received), known)}")


class Layout(IntEnum):
    """Which elements are in the body."""

    ALL = 0
    MASK = 1  # what the mask keeps, in the arrays that it covers
    SUPPORT = 2  # what the support in the body says; of a mask: what is set
    FLIPS = 3  # of a mask: what differs from the reference


@dataclass(frozen=True)
class Header:
    """What a stream says about itself."""

    values: ValueType
    layout: Layout

    def write(self, head: Sequence[bytes], pieces: Sequence[bytes], deflating: bool) -> bytes:
        """Returns a stream with the body that `pieces` make together, deflated if asked to and if that is smaller."""
        body = b"".join(pieces)
        packed = deflate(pieces) if deflating and body else body
        deflated = len(packed) < len(body)
        byte = VALUE_TYPES.index(self.values) | self.layout << 2 | deflated << 4 | FORMAT_VERSION << 5
        return b"".join([bytes([byte]), *head, packed if deflated else body])

    def fits(self, content: Content) -> bool:
        """Whether a content of this kind can have the header."""
        if content.is_mask:
            return self.values == "float32" and self.layout in (Layout.SUPPORT, Layout.FLIPS)
        if any(spec.floating for spec in content.arrays):
            return self.layout != Layout.FLIPS
        return self.values == "float32" and self.layout == Layout.ALL


def write_lengths(shapes: Shapes, content: Content) -> list[bytes]:
    """Returns the free lengths of a content's arrays."""
    return [
        shape[0].to_bytes(_LENGTH_BYTES, "little")
        for shape, spec in zip(shapes, content.arrays, strict=True)
        if spec.free
    ]


class Reader:
    """Takes pieces from the front of what was received, never beyond its end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.rest = memoryview(data)
        self._deflated = False

    def take(self, size: int) -> memoryview:
        """Returns the next `size` bytes."""
        if len(self.rest) < size:
            raise PayloadError(f"{len(self.rest)} bytes are left, expected {size}")
        piece, self.rest = self.rest[:size], self.rest[size:]
        return piece

    def header(self, content: Content) -> Header:
        """Reads the header, which has to fit the content."""
        byte = self.take(1)[0]
        if byte >> 5 != FORMAT_VERSION:
            raise PayloadError(f"format version {byte >> 5} is unknown, expected {FORMAT_VERSION}")
        header = Header(VALUE_TYPES[byte & 3], Layout(byte >> 2 & 3))
        if not header.fits(content):
            raise PayloadError(f"header {byte:#04x} does not fit the declared arrays")
        self._deflated = bool(byte >> 4 & 1)
        return header

    def shapes(self, content: Content) -> list[Shape]:
        """Reads the free lengths; returns the shape of each array."""
        return [
            spec.sized(int.from_bytes(self.take(_LENGTH_BYTES), "little") if spec.free else 0)
            for spec in content.arrays
        ]

    def body(self, most: int) -> Reader:
        """Returns a reader of the rest, inflated, which may have `most` bytes."""
        if not self._deflated:
            if len(self.rest) > most:
                raise PayloadError(f"the body has {len(self.rest)} bytes, expected at most {most}")
            return Reader(self.rest)
        body = inflate(self.rest, most)
        if len(body) <= len(self.rest):
            raise PayloadError("the body is deflated although that makes it no smaller")
        return Reader(body)

    def end(self) -> None:
        """Refuses leftovers."""
        if self.rest:
            raise PayloadError(f"{len(self.rest)} bytes are left over")

"""The frame around a content's values.

Stream: header | digest of the reference, if there is one | digest of the constants, if the receiver holds them |
free lengths, 4 bytes each | body.
Header, version 1: code of the value type (2 bits), layout (2), deflate (1), format version (3). Version 2, for what
version 1 cannot say: coding of the body (2 bits), code of the value type (3), version (3); layout (3), whether it is a
difference (1), whether constants are named by their digest instead of being in the body (1), 0 (3). Code 7: a value
type that has none follows by its name, a byte for the length and ASCII.

Whoever decodes has declared the content, so the stream carries no shapes or dtypes, and each length in it is checked
before anything of that length is allocated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from importlib.util import find_spec
from typing import Final, Literal, get_args

from fedcompress.errors import InputError, PayloadError, shown, suggestion
from fedcompress.units import counted
from fedcompress.wire.content import Content
from fedcompress.wire.deflate import Piece, deflate, inflate
from fedcompress.wire.shipped import EXACT, SHIPPED
from fedcompress.wire.value_type import ValueType
from fedcompress.wire.vector import Shape, Shapes

Codec = Literal["dense", "sparse"]
CODECS: Final[tuple[Codec, ...]] = get_args(Codec)
FORMAT_VERSION: Final = 2
_PLAIN_VERSION: Final = 1
_PLAIN_CODES: Final = range(4)
_BY_NAME: Final = 7
"""In the place of a value type's code: the type has none, and is told by its name."""
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True)
class Encoding:
    """How a content becomes bytes.

    Attributes:
        codec: "sparse" leaves out what is known or coded to be zero, "dense" sends every value.
        values: Value type of floats; everything else travels exactly.
        deflate: Whether the body is deflated where that makes it smaller.
        entropy: Whether the body is entropy coded (`fedcompress.wire.ans`) where that makes it smaller still.
        clusters: Largest number of values other than zero in a codebook.
        top_k: Fraction of the floats that is sent, those of largest magnitude; the others decode as zero.
        delta: Whether the difference to what the receiver holds is sent, of contents that are declared for it.
        feedback: Whether what a difference leaves out is added to the next one.
        whole: Value type of a difference to a receiver that holds nothing that was exchanged.
        downlink_values: `values` of what the server sends; None for the same.
        downlink_top_k: `top_k` of what the server sends; None for the same.
    """

    codec: Codec = "dense"
    values: ValueType = EXACT
    deflate: bool = True
    entropy: bool = False
    clusters: int = 15
    top_k: float = 1.0
    delta: bool = False
    feedback: bool = False
    whole: ValueType = SHIPPED["int8"]
    downlink_values: ValueType | None = None
    downlink_top_k: float | None = None

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise InputError(f"{self.codec!r} is no codec of the wire format.{suggestion(str(self.codec), CODECS)}")

    def problems(self) -> Iterable[str]:
        """Yields combinations that make no sense, each with what to do about it."""
        both = ((self.values, self.top_k), (self.downlink_values or self.values, self.downlink_share))
        chosen = any(share < 1 for _, share in both)
        if chosen and not self.delta:
            yield "top_k needs delta = true: of weights themselves, all but the largest would become zero"
        if chosen and self.codec == "dense":
            yield 'top_k needs weights = "sparse": a dense stream sends every value'
        for values in dict.fromkeys(values for values, share in both if values.few and share == 1):
            yield f'values = "{values}" needs top_k below 1: one size for all would drown the large ones'
        if self.whole.few:
            yield f'whole = "{self.whole}" is too coarse for whole weights; expected another value type'
        if self.feedback and not self.delta:
            yield "feedback needs delta = true: only what a difference leaves out can be added to the next one"
        if self.feedback and all(values == EXACT and share == 1 for values, share in both):
            yield "feedback has nothing to feed back: float32 without top_k leaves nothing out"
        if self.entropy and find_spec("constriction") is None:
            yield (
                "entropy = true needs the package constriction, which has no wheel for this machine; "
                "with Rust installed, pip install constriction builds it"
            )
        if not 1 <= self.clusters <= 255:
            yield f"clusters = {self.clusters}; expected 1 to 255"

    @property
    def downlink_share(self) -> float:
        """Fraction of the floats that the server sends."""
        return self.top_k if self.downlink_top_k is None else self.downlink_top_k


class Layout(IntEnum):
    """Which elements are in the body."""

    ALL = 0
    MASK = 1  # what the mask keeps, in the arrays that it covers
    SUPPORT = 2  # what the support in the body says; of a mask: what is set
    FLIPS = 3  # of a mask: what differs from the reference
    WITHIN = 4  # of what the mask keeps, what the support in the body says


class Coding(IntEnum):
    """What has been done to the body."""

    PLAIN = 0
    DEFLATED = 1
    ENTROPY = 2  # its pieces are entropy coded, each on its own


@dataclass(frozen=True)
class Header:
    """What a stream says about itself.

    Attributes:
        values: Value type.
        layout: Which elements are in the body.
        difference: Whether it is the difference to a reference.
        named: Whether the constant arrays are named instead of being in the body.
    """

    values: ValueType
    layout: Layout
    difference: bool = False
    named: bool = False

    def write(self, head: Sequence[bytes], pieces: Sequence[Piece], deflating: bool) -> bytes:
        """Returns a stream with the body that `pieces` make together, deflated if asked to and if that is smaller."""
        size = sum(map(len, pieces))
        packed = deflate(pieces) if deflating and size else pieces
        deflated = sum(map(len, packed)) < size
        coding = Coding.DEFLATED if deflated else Coding.PLAIN
        return b"".join([self._start(coding), *head, *(packed if deflated else pieces)])

    def write_coded(self, head: Sequence[bytes], pieces: Sequence[Piece]) -> bytes:
        """Returns a stream whose pieces are entropy coded already."""
        return b"".join([self._start(Coding.ENTROPY), *head, *pieces])

    def _start(self, coding: Coding) -> bytes:
        code = self.values.code
        plain = code in _PLAIN_CODES and self.layout <= Layout.FLIPS and not (self.difference or self.named)
        if code is not None and plain and coding != Coding.ENTROPY:
            return bytes([code | self.layout << 2 | coding << 4 | _PLAIN_VERSION << 5])
        name = b"" if code is not None else str(self.values).encode("ascii")
        first = coding | (_BY_NAME if code is None else code) << 2 | FORMAT_VERSION << 5
        start = bytes([first, self.layout | self.difference << 3 | self.named << 4])
        return start if code is not None else start + bytes([len(name)]) + name

    def fits(self, content: Content) -> bool:
        """Whether a content of this kind can have the header."""
        if self.named and not content.constants:
            return False
        if content.is_mask:
            exact = self.values == EXACT and not (self.difference or self.named)
            return exact and self.layout in (Layout.SUPPORT, Layout.FLIPS)
        if content.lossy:
            return self.layout != Layout.FLIPS
        return self.values == EXACT and self.layout == Layout.ALL and not self.difference


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
        self.coding = Coding.PLAIN

    def take(self, size: int) -> memoryview:
        """Returns the next `size` bytes."""
        if len(self.rest) < size:
            raise PayloadError(f"left are {counted(len(self.rest), 'byte')}, expected {size}")
        piece, self.rest = self.rest[:size], self.rest[size:]
        return piece

    def header(self, content: Content) -> Header:
        """Reads the header, which has to fit the content."""
        received = self.rest
        byte = self.take(1)[0]
        version = byte >> 5
        if version == _PLAIN_VERSION:
            coding, code, layout, more = byte >> 4 & 1, byte & 3, byte >> 2 & 3, 0
        elif version == FORMAT_VERSION:
            more = self.take(1)[0]
            coding, code, layout = byte & 3, byte >> 2 & 7, more & 7
        else:
            raise PayloadError(f"format version {version} is unknown, expected {_PLAIN_VERSION} or {FORMAT_VERSION}")
        if coding > max(Coding) or layout > max(Layout):
            raise PayloadError(f"header {byte:#04x} {more:#04x} is unknown")
        self.coding = Coding(coding)
        header = Header(self._value_type(code, content), Layout(layout), bool(more >> 3 & 1), bool(more >> 4 & 1))
        start = header._start(self.coding)
        if received[: len(start)] != start or not header.fits(content):
            raise PayloadError(f"header {byte:#04x} does not fit the declared arrays")
        return header

    def _value_type(self, code: int, content: Content) -> ValueType:
        """Returns the value type of a header, which has to be one that the content may have."""
        name = bytes(self.take(self.take(1)[0])).decode("ascii", "replace") if code == _BY_NAME else None
        known = SHIPPED.values() if content.value_types is None else content.value_types
        for values in known:
            if values.code == (None if name is not None else code) and name in (None, str(values)):
                return values
        numbered = (str(values) for values in SHIPPED.values() if values.code == code)
        told = shown(name) if name is not None else next(numbered, f"of number {code}")
        raise PayloadError(f"a value type {told} is not expected; expected {', '.join(map(str, known))}")

    def shapes(self, content: Content) -> list[Shape]:
        """Reads the free lengths; returns the shape of each array."""
        return [
            spec.sized(int.from_bytes(self.take(_LENGTH_BYTES), "little") if spec.free else 0)
            for spec in content.arrays
        ]

    def body(self, most: int) -> Reader:
        """Returns a reader of the rest, inflated, which may have `most` bytes."""
        if self.coding == Coding.ENTROPY:
            return Reader(self.rest)
        if self.coding == Coding.PLAIN:
            if len(self.rest) > most:
                raise PayloadError(f"the body has {counted(len(self.rest), 'byte')}, expected at most {most}")
            return Reader(self.rest)
        body = inflate(self.rest, most)
        if len(body) <= len(self.rest):
            raise PayloadError("the body is deflated although that makes it no smaller")
        return Reader(body)

    def end(self) -> None:
        """Refuses leftovers."""
        if self.rest:
            raise PayloadError(f"left over: {counted(len(self.rest), 'byte')}")

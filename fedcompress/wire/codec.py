"""One content as bytes, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import ceil
from typing import Any

from fedcompress.errors import PayloadError
from fedcompress.wire import masks, tensors
from fedcompress.wire.content import Arrays, Content
from fedcompress.wire.shipped import EXACT
from fedcompress.wire.stream import CODECS, Codec, Encoding, Reader
from fedcompress.wire.value_type import Floats, ValueType

__all__ = ["CODECS", "Codec", "Encoded", "Encoding", "encode", "read"]


@dataclass(frozen=True, eq=False)
class Encoded:
    """A content as it crosses the network; both ends have the same one.

    Attributes:
        data: What is sent.
        arrays: What the receiver decodes, bit for bit.
        dense_bytes: The same content in dense federated averaging: 4 bytes per float, integers as they are, and
            nothing for masks, which it does not send.
        bound_bytes: Entropy of what the receiver does not know yet (see `fedcompress.wire.entropy`). For a mask:
            n H(p) of each array, with p the fraction of flips against the reference. For values: which of them are
            zero, unless the mask says so, and the order-0 entropy of the symbols of the others, and scales. Of a
            difference, what it is a difference to is known, and so are constants that the receiver holds.
        error: What of the learned floats did not go along: what the sender wanted to send minus what the receiver
            decodes, all arrays as one vector. Known to the sender alone, and only with feedback.
        saturated: How many values arrive as the largest that the value type has, whatever they were.
        values: The value type of the learned floats.
    """

    data: bytes
    arrays: Arrays
    dense_bytes: int
    bound_bits: Callable[[], float]
    error: Floats | None = None
    saturated: int = 0
    values: ValueType = EXACT
    made: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What has been made of it to be kept, for everybody in this process who keeps it."""

    @cached_property
    def bound_bytes(self) -> int:
        """See above; worked out when it is asked for, which a client never does."""
        return ceil(self.bound_bits() / 8)


def encode(
    arrays: Arrays,
    content: Content,
    encoding: Encoding,
    *,
    mask: Arrays | None = None,
    reference: Arrays | None = None,
    digest: bytes | None = None,
    residual: Floats | None = None,
    constants: Arrays | None = None,
    name: str = "content",
) -> Encoded:
    """Encodes one content.

    With a mask, the sparse codec sends only what the mask keeps, and the rest decodes as zero; the dense codec sends
    every value as it is. Without a mask, the sparse codec also sends which elements are zero, where that pays.
    A content of bool arrays is a mask itself: it is coded relative to the reference or afresh, whichever is smaller.

    Args:
        arrays: As declared in `content`; floats of any width.
        content: The declaration.
        encoding: Codec, value type, and what is left out.
        mask: A bool array for each of `content.masked`, which the receiver has as well.
        reference: Arrays of the same shapes that the receiver has. A mask is then coded as what differs, where that is
            smaller, and numbers as the difference to it; None stands for nothing held.
        digest: Of the reference, where it is known.
        residual: `error` of what was sent before, added to the numbers now (error feedback).
        constants: The constant arrays that the receiver has; the same again cross as their digest.
        name: The content's name, for messages.

    Raises:
        PayloadError: Arrays, mask or reference do not have the declared shapes, or values are not finite.
    """
    arrays = content.accept(arrays, name)
    try:
        if content.is_mask:
            data = masks.write(arrays, content, encoding, reference)
            return _mask(data, [array.copy() for array in arrays], reference)
        return _encoded(*tensors.write(arrays, content, encoding, mask, reference, residual, constants, digest))
    except PayloadError as problem:
        raise PayloadError(f"{name} cannot be encoded: {problem}.") from None


def read(
    data: bytes,
    content: Content,
    *,
    mask: Arrays | None = None,
    reference: Arrays | None = None,
    digest: bytes | None = None,
    constants: Arrays | None = None,
    name: str = "content",
) -> Encoded:
    """Decodes and measures one content.

    Args:
        data: What was received; nothing about it is trusted.
        content: The declaration.
        mask: As in `encode`.
        reference: As in `encode`; needed only where the stream refers to it.
        digest: Of the reference, where it is known.
        constants: Likewise.
        name: The content's name, for messages.

    Returns:
        The very `Encoded` that the sender has, but for `error`. Its arrays are new, writable, and finite.

    Raises:
        PayloadError: The bytes are not what `encode` makes of any such content.
    """
    try:
        reader = Reader(data)
        header = reader.header(content)
        if content.is_mask:
            return _mask(data, masks.take(reader, header, content, reference), reference)
        arrays, sent = tensors.take(reader, header, content, mask, reference, constants, digest)
        return _encoded(data, arrays, sent)
    except PayloadError as problem:
        raise PayloadError(f"{name} cannot be decoded: {problem}.") from None


def _mask(data: bytes, arrays: Arrays, reference: Arrays | None) -> Encoded:
    return Encoded(data, arrays, 0, partial(masks.bound_bits, arrays, reference))


def _encoded(data: bytes, arrays: Arrays, sent: tensors.Sent, error: Floats | None = None) -> Encoded:
    dense_bytes = sum(array.nbytes for array in arrays)
    return Encoded(data, arrays, dense_bytes, sent.bound_bits, error, sent.saturated, sent.values)

"""Arrays of numbers, dense or sparse, as they are or as the difference to what the receiver holds.

What is learned is rounded, left out and subtracted as the encoding says; everything else is exact.

Body: exact arrays, of which constants only if the receiver lacks them | support | byte planes of the symbols sent, the
highest first | what symbols need beside them. All little endian.
Entropy coded: the support as positions, and each plane as a stream of its own; the rest as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire import entropy, exact, huffman, positions, support, symbols
from fedcompress.wire.content import Arrays, Content
from fedcompress.wire.deflate import Piece
from fedcompress.wire.lacking import Places, arrived, lacking, leaves_zeros_out, rounded, share, sizes_at, spread
from fedcompress.wire.masks import as_vector
from fedcompress.wire.shipped import EXACT
from fedcompress.wire.stream import Coding, Encoding, Header, Layout, Reader, write_lengths
from fedcompress.wire.value_type import Floats, Side, Symbols, ValueType
from fedcompress.wire.vector import Shape, Shapes, Sizes, joined, places_of_largest, shapes_of, sizes_of, split

Bits = NDArray[np.bool_]

_SUPPORTED = {Layout.ALL: Layout.SUPPORT, Layout.MASK: Layout.WITHIN}
"""Layout with all elements -> the same with those that the support in the body says."""
_WITH_SUPPORT = (Layout.SUPPORT, Layout.WITHIN)
_WITH_MASK = (Layout.MASK, Layout.WITHIN)


@dataclass(frozen=True, eq=False)
class Sent:
    """What a body holds.

    Attributes:
        values: Value type of the learned floats.
        layout: Which of them are sent.
        size: Their number.
        in_mask: Those that the mask keeps, None without a mask.
        symbols: Those that are sent.
        side: What symbols need beside them.
        exact: The exact arrays.
    """

    values: ValueType
    layout: Layout
    size: int
    in_mask: Bits | None
    symbols: Symbols
    side: Side
    exact: Arrays

    @property
    def saturated(self) -> int:
        """How many values are the largest that the value type has, or were beyond it."""
        return self.values.saturated(self.symbols)

    @cached_property
    def filled(self) -> Bits:
        """Which symbols do not stand for zero."""
        filled: Bits = self.symbols.view(f"u{self.symbols.itemsize}") != 0
        return filled

    def bound_bits(self) -> float:
        """Returns the entropy of what the receiver does not know; the reference of a difference is known."""
        sent, filled = self.symbols, self.filled
        bits = sum(map(entropy.array_bits, self.exact)) + self.values.side_bits(self.side)
        if self.in_mask is None or self.layout in _WITH_MASK:
            size = self.size if self.in_mask is None else int(np.count_nonzero(self.in_mask))
            absent = size - self.symbols.size if self.layout in _WITH_SUPPORT else 0
            return bits + entropy.values_bits(sent, filled, absent)
        # The dense codec sends every value; that the mask leaves some of them zero is known all the same.
        return bits + sum(entropy.values_bits(sent[side], filled[side]) for side in (self.in_mask, ~self.in_mask))


def write(
    arrays: Arrays,
    content: Content,
    encoding: Encoding,
    mask: Arrays | None,
    reference: Arrays | None = None,
    residual: Floats | None = None,
    constants: Arrays | None = None,
    named_by: bytes | None = None,
) -> tuple[bytes, Arrays, Sent, Floats | None]:
    """Writes arrays.

    Args:
        arrays: As declared in `content`.
        content: The declaration.
        encoding: How they become bytes.
        mask: What of them is kept.
        reference: Arrays that the receiver has, of which the difference is sent; None to send them as they are.
        residual: `error` of what was sent before, which is added to what is sent now.
        constants: Constant arrays that the receiver has, which are named if they are the ones to send.
        named_by: Digest of the reference, where it is known.

    Returns:
        The stream, what it decodes to, what it holds, and, with feedback, what the receiver does not get: wanted minus
        decoded, with shape (number of learned floats,).
    """
    shapes = shapes_of(arrays)
    named = constants is not None and _identical(constants, [arrays[i] for i in content.constants])
    floats, in_mask = [arrays[i] for i in content.lossy], _in_mask(mask, content, shapes)
    sizes = sizes_of(shapes_of(floats))
    reference = reference if floats else None
    known = None if reference is None else _reference(reference, content, shapes)
    wanted = lacking(floats, known, residual)
    sparse = encoding.codec == "sparse" and wanted.size > 0
    within = in_mask if sparse else None
    values = encoding.values.with_clusters(encoding.clusters) if floats else EXACT
    feedback, chosen = encoding.feedback or residual is not None, encoding.top_k < 1
    if within is not None and (feedback or chosen):
        wanted[~within] = 0
    places = places_of_largest(wanted, share(encoding.top_k, wanted.size, in_mask)) if chosen else within
    to_send = rounded(wanted, places, known, within, sizes, values, feedback=feedback)
    digests = [] if reference is None else [named_by or digest(reference)]
    digests += [digest(constants)] if named and constants is not None else []
    header = Header(values, Layout.ALL if within is None else Layout.MASK, known is not None, named)
    among = _among(to_send.symbols, places, within, wanted.size) if chosen else to_send.symbols
    exactly = [arrays[i] for i in _exact(content, named)]
    sent = Sent(values, header.layout, wanted.size, in_mask, among, to_send.side, exactly)
    body = _Body(header, [*digests, *write_lengths(shapes, content)], sent)
    # Without a difference, what a mask keeps is hardly ever zero: looking for zeros there is not worth the time.
    zeros = sparse and (within is None or encoding.top_k < 1 or known is not None)
    coded = [body.coded(sparse)] if encoding.entropy and floats else []
    sent, pieces = body.plain(zeros, encoding.deflate)
    if coded and huffman.least_bytes(pieces, encoding.deflate) > len(coded[0][0]):
        data, sent = coded[0]
    else:
        plain = body.header_of(sent).write(body.start, pieces, encoding.deflate), sent
        data, sent = min([plain, *coded], key=lambda stream: len(stream[0]))
    lossy = dict(zip(content.lossy, split(to_send.decoded, shapes_of(floats)), strict=True))
    decoded = [lossy[i] if i in lossy else array.copy() for i, array in enumerate(arrays)]
    return data, decoded, sent, to_send.error


def _among(few: Symbols, places: Places | None, within: Bits | None, size: int) -> Symbols:
    """Returns the symbols of everything in the mask, zeros among them, given those of a few places."""
    every = few if places is None else spread(few, places, size)
    return every if within is None else every[within]


@dataclass(frozen=True, eq=False)
class _Body:
    """What there is to send: the same in any coding.

    Attributes:
        header: The header, but for the support.
        start: What goes between header and body.
        everything: All that can be sent, zeros among it.
    """

    header: Header
    start: list[bytes]
    everything: Sent

    def plain(self, zeros: bool, deflating: bool) -> tuple[Sent, list[Piece]]:
        """Returns what a stream of raw or deflated bytes holds; with `zeros`, without those where that pays."""
        values = self.everything.values
        places = self._places(deflating) if zeros else b""
        sent = self._sent(bool(places))
        return sent, self._pieces(places, symbols.pack(sent.symbols, values))

    def _places(self, deflating: bool) -> bytes:
        """Returns which symbols are not zero, if that and these symbols are fewer bytes than all; else nothing."""
        filled, values = self.everything.filled, self.everything.values
        places = support.encode(filled, deflating)
        shorter = len(places) + symbols.packed_size(int(np.count_nonzero(filled)), values)
        return places if shorter < symbols.packed_size(filled.size, values) else b""

    def coded(self, sparse: bool) -> tuple[bytes, Sent]:
        """Returns the stream whose symbols are entropy coded, and their positions where few are not zero."""
        filled, values = self.everything.filled, self.everything.values
        supported = sparse and int(np.count_nonzero(filled)) * positions.DENSEST <= filled.size
        sent = self._sent(supported)
        planes = symbols.encode(sent.symbols, values, zeros=not supported)
        pieces = self._pieces(positions.encode(filled) if supported else b"", planes)
        return self.header_of(sent).write_coded(self.start, pieces), sent

    def _sent(self, supported: bool) -> Sent:
        if not supported:
            return self.everything
        among = self.everything.symbols[self.everything.filled]
        return replace(self.everything, layout=_SUPPORTED[self.everything.layout], symbols=among)

    def header_of(self, sent: Sent) -> Header:
        """Returns the header of a stream that holds this."""
        return replace(self.header, layout=sent.layout)

    def _pieces(self, places: bytes, planes: Sequence[Piece]) -> list[Piece]:
        exactly = b"".join(map(exact.pack, self.everything.exact))
        return [exactly, places, *planes, self.everything.values.write_side(self.everything.side)]


def take(
    reader: Reader,
    header: Header,
    content: Content,
    mask: Arrays | None,
    reference: Arrays | None = None,
    constants: Arrays | None = None,
    named_by: bytes | None = None,
) -> tuple[Arrays, Sent]:
    """Reads what `write` made, after its header; arguments as there."""
    layout = header.layout
    base = reader.take(support.DIGEST_BYTES) if header.difference else None
    lasting = _lasting(reader.take(support.DIGEST_BYTES), constants, content) if header.named else {}
    shapes = reader.shapes(content)
    known = None if base is None else _named(base, reference, content, shapes, named_by)
    in_mask = _in_mask(mask, content, shapes)
    if layout in _WITH_MASK and in_mask is None:
        raise PayloadError("the mask that it was sent with is missing")
    if layout == Layout.SUPPORT and in_mask is not None:
        raise PayloadError("it was sent without mask")
    within = in_mask if layout in _WITH_MASK else None
    lossy_shapes = [shapes[i] for i in content.lossy]
    sizes = sizes_of(lossy_shapes)
    exactly = {i: (shapes[i], content.arrays[i].dtype) for i in _exact(content, header.named)}
    places, sent = _take_body(reader, header, list(exactly.values()), sizes, in_mask)
    places = _everywhere(places, within)
    if places is not None and len(sent.symbols) * positions.DENSEST <= sent.size and leaves_zeros_out(sent.values):
        decoded = symbols.restore(sent.symbols, sent.side, sizes_at(places, sizes), sent.values)
    else:
        every = sent.symbols if places is None else spread(sent.symbols, places, sent.size)
        places = None
        decoded = symbols.restore(every, sent.side, sizes, sent.values)
        del every
    decoded = arrived(decoded, sent.symbols, places, known, within, sent.size)
    lossy = dict(zip(content.lossy, split(decoded, lossy_shapes), strict=True))
    arrays = {**lossy, **dict(zip(exactly, sent.exact, strict=True)), **lasting}
    return [arrays[i] for i in range(len(shapes))], sent


def _take_body(
    reader: Reader, header: Header, exactly: list[tuple[Shape, str]], sizes: Sizes, in_mask: Bits | None
) -> tuple[Places | None, Sent]:
    """Returns the places of the symbols, if a support says them, and what the body holds."""
    values, layout, coded = header.values, header.layout, reader.coding == Coding.ENTROPY
    size = int(sizes.sum())
    count = int(np.count_nonzero(in_mask)) if in_mask is not None and layout in _WITH_MASK else size
    most = sum(exact.packed_size(*spec) for spec in exactly) + symbols.packed_size(count, values)
    most += values.most_side_bytes(len(sizes))
    if layout in _WITH_SUPPORT and not count:
        raise PayloadError("there is a support of no elements")
    # A support is sent only where it makes the body smaller.
    body = reader.body(most - 1 if layout in _WITH_SUPPORT else most)
    others = [exact.unpack(body.take(exact.packed_size(*spec)), *spec) for spec in exactly]
    places: Places | None = None
    if layout in _WITH_SUPPORT:
        places = positions.decode(body, count) if coded else support.decode(body, count)
        count = len(places) if coded else int(np.count_nonzero(places))
    if coded:
        sent = symbols.decode(body, count, values, zeros=places is None)
    else:
        sent = symbols.unpack(body.take(symbols.packed_size(count, values)), count, values)
    with symbols.guarded(values):
        side = values.take_side(body, len(sizes))
        body.end()
        values.check(sent, side)
    if places is not None and np.count_nonzero(sent) < count:
        raise PayloadError("the support holds a zero")
    return places, Sent(values, layout, size, in_mask, sent, side, others)


def _everywhere(places: Places | None, within: Bits | None) -> Places | None:
    """Returns where of all elements symbols are, given where they are of those in the mask; None for all."""
    if within is None or places is None:
        return within if places is None else places
    return np.flatnonzero(within)[places]


def digest(arrays: Arrays) -> bytes:
    """Returns 8 bytes by which both ends recognise the reference of a difference."""
    total = blake2b(digest_size=support.DIGEST_BYTES)
    for array in arrays:
        total.update(np.ascontiguousarray(array).data)
    return total.digest()


def _reference(reference: Arrays, content: Content, shapes: Shapes) -> Arrays:
    """Returns the learned floats of a reference.

    Raises:
        PayloadError: It is not of the content's shapes.
    """
    if shapes_of(reference) != list(shapes):
        raise PayloadError(f"the reference has shapes {shapes_of(reference)}, expected {list(shapes)}")
    return [reference[i].astype(np.float32, copy=False) for i in content.lossy]


def _named(
    named: memoryview, reference: Arrays | None, content: Content, shapes: Shapes, named_by: bytes | None
) -> Arrays:
    """Returns the reference, which has to be the one that a stream names."""
    if reference is None:
        raise PayloadError(f"it is a difference to {named.hex()}, but nothing is held")
    known = _reference(reference, content, shapes)
    if (ours := named_by or digest(reference)) != named:
        raise PayloadError(f"it is a difference to {named.hex()}, but what is held is {ours.hex()}")
    return known


def _exact(content: Content, named: bool) -> list[int]:
    """Returns the positions of what crosses as it is; not of constants that are named."""
    absent = {*content.lossy, *(content.constants if named else ())}
    return [i for i in range(len(content.arrays)) if i not in absent]


def _identical(first: Arrays, second: Arrays) -> bool:
    """Says whether arrays are the same to the bit; a negative zero is not a zero."""
    return shapes_of(first) == shapes_of(second) and all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True)
    )


def _lasting(named: memoryview, constants: Arrays | None, content: Content) -> dict[int, NDArray[Any]]:
    """Returns position -> constant array, new; they have to be those that a stream names."""
    if constants is None:
        raise PayloadError(f"its constants are {named.hex()}, but nothing is held")
    expected = [(content.arrays[i].sized(0), content.arrays[i].dtype) for i in content.constants]
    received = [(array.shape, str(array.dtype)) for array in constants]
    if received != expected or (ours := digest(constants)) != named:
        what = f"are {received}" if received != expected else f"have {ours.hex()}"
        raise PayloadError(f"its constants are {named.hex()}, but those held {what}")
    return {i: array.copy() for i, array in zip(content.constants, constants, strict=True)}


def _in_mask(mask: Arrays | None, content: Content, shapes: Shapes) -> Bits | None:
    """Returns the mask over all learned floats; arrays that it does not cover are in it whole."""
    if mask is None:
        return None
    covered = [shapes[i] for i in content.masked]
    parts = dict(zip(content.masked, split(as_vector(mask, covered, "mask"), covered), strict=True))
    return joined([parts[i] if i in parts else np.ones(shapes[i], np.bool_) for i in content.lossy], np.bool_)

"""Arrays of numbers, dense or sparse, as they are or as the difference to what the receiver holds.

What is learned is rounded, left out and subtracted as the encoding says; everything else is exact.

Body: exact arrays, of which constants only if the receiver lacks them | support | byte planes of the values sent, the
highest first | scales | codebook. All little endian.
Entropy coded: the support as positions, and each plane as a stream of its own; the rest as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire import ans, clusters, entropy, exact, positions, support
from fedcompress.wire import values as numbers
from fedcompress.wire.content import Arrays, Content
from fedcompress.wire.masks import as_vector
from fedcompress.wire.stream import Coding, Encoding, Header, Layout, Reader, write_lengths
from fedcompress.wire.values import Floats, Symbols
from fedcompress.wire.vector import Shapes, Sizes, finite, joined, shapes_of, sizes_of, split

Bits = NDArray[np.bool_]
Planes = NDArray[np.uint8]


_WITH_SUPPORT = (Layout.SUPPORT, Layout.WITHIN)
_WITH_MASK = (Layout.MASK, Layout.WITHIN)


@dataclass(frozen=True, eq=False)
class Sent:
    """What a body holds.

    Attributes:
        layout: Which floats are sent.
        size: Number of learned floats.
        kept: Those that the mask keeps, None without a mask.
        symbols: Those that are sent.
        scales: One per float array for symbols that are multiples of it, otherwise none.
        codebook: Values that symbols stand for; empty unless they are clustered.
        others: The exact arrays.
    """

    layout: Layout
    size: int
    kept: Bits | None
    symbols: Symbols
    scales: Floats
    codebook: Floats
    others: Arrays

    @property
    def saturated(self) -> int:
        """How many values are the largest that float16 has, or were beyond it."""
        if self.symbols.dtype != np.float16:
            return 0
        return int(np.count_nonzero(np.abs(self.symbols) == np.float16(numbers.FLOAT16_MAX)))

    def bound_bits(self) -> float:
        """Returns the entropy of what the receiver does not know; the reference of a difference is known."""
        planes = numbers.byte_planes(self.symbols)
        filled = self.symbols.view(f"u{self.symbols.itemsize}") != 0
        scales = int(np.count_nonzero(self.scales))  # that an array is zero throughout is among its symbols
        bits = sum(map(entropy.array_bits, self.others)) + 32.0 * scales + 16.0 * self.codebook.size
        if self.kept is None or self.layout in _WITH_MASK:
            whole = self.size if self.kept is None else int(np.count_nonzero(self.kept))
            absent = whole - self.symbols.size if self.layout in _WITH_SUPPORT else 0
            return bits + entropy.values_bits(planes, filled, absent)
        absent = self.size - self.symbols.size if self.layout == Layout.SUPPORT else 0
        if absent:
            return bits + entropy.values_bits(planes, filled, absent)
        # The dense codec sends every value; that the mask leaves some of them zero is known all the same.
        return bits + sum(entropy.values_bits(planes[:, part], filled[part]) for part in (self.kept, ~self.kept))


@dataclass(frozen=True, eq=False)
class Written:
    """What `write` returns.

    Attributes:
        data: The stream.
        arrays: What it decodes to.
        sent: What of them is sent.
        error: What the receiver does not get, with shape (number of learned floats,): wanted minus decoded.
    """

    data: bytes
    arrays: Arrays
    sent: Sent
    error: Floats


def write(
    arrays: Arrays,
    content: Content,
    encoding: Encoding,
    mask: Arrays | None,
    reference: Arrays | None = None,
    residual: Floats | None = None,
    constants: Arrays | None = None,
) -> Written:
    """Writes arrays.

    Args:
        arrays: As declared in `content`.
        content: The declaration.
        encoding: How they become bytes.
        mask: What of them is kept.
        reference: Arrays that the receiver has, of which the difference is sent; None to send them as they are.
        residual: `error` of what was sent before, which is added to what is sent now.
        constants: Constant arrays that the receiver has, which are named if they are the ones to send.
    """
    shapes = shapes_of(arrays)
    named = constants is not None and _identical(constants, [arrays[i] for i in content.constants])
    lossy, exactly = _positions(content, named)
    floats, others = [arrays[i] for i in lossy], [arrays[i] for i in exactly]
    reference = reference if floats else None
    flat, sizes, kept = joined(floats, np.float32), sizes_of(shapes_of(floats)), _kept(mask, content, shapes)
    references = None if reference is None else _reference(reference, content, shapes)
    known = None if references is None else joined(references, np.float32)
    wanted = _wanted(flat, known, residual)
    values = encoding.values if floats else "float32"
    sparse = encoding.codec == "sparse" and flat.size > 0
    if sparse and kept is not None:
        wanted[~kept] = 0
    chosen = _largest(wanted, encoding.top_k, kept) if encoding.top_k < 1 else wanted
    symbols, scales, codebook = _quantise(chosen, sizes, values, encoding.clusters)
    decoded = _restore(symbols, scales, sizes, values, codebook)
    error = wanted - decoded
    if known is not None:
        decoded = decoded + known
        if sparse and kept is not None:
            decoded[~kept] = 0
        if not finite(decoded):
            raise PayloadError("the sum of reference and difference is not finite")
    within = kept if sparse else None
    start = [digest(held) for held in (reference, constants if named else None) if held is not None]
    start += write_lengths(shapes, content)
    among = symbols if within is None else symbols[within]
    first = Header(values, Layout.ALL, known is not None, named)
    body = _Body(first, flat.size, kept, within is not None, among, scales, codebook, others, start)
    # Without a difference, what a mask keeps is hardly ever zero: looking for zeros there is not worth the time.
    zeros = sparse and (within is None or encoding.top_k < 1 or known is not None)
    streams = [body.plain(zeros, encoding.deflate)]
    if encoding.entropy and floats:
        streams.append(body.coded(sparse))
    data, sent = min(streams, key=lambda stream: len(stream[0]))
    made = dict(zip(lossy, split(decoded, shapes_of(floats)), strict=True))
    return Written(data, [made[i] if i in made else array.copy() for i, array in enumerate(arrays)], sent, error)


@dataclass(frozen=True, eq=False)
class _Body:
    """What there is to send: the same in any coding.

    Attributes:
        header: The header, but for the layout.
        size: Number of learned floats.
        kept: Those that the mask keeps, None without a mask.
        within: Whether only what the mask keeps is sent.
        among: Symbols that can be sent, zeros among them.
        scales: See `Sent`.
        codebook: See `Sent`.
        others: The exact arrays.
        start: What goes between header and body.
    """

    header: Header
    size: int
    kept: Bits | None
    within: bool
    among: Symbols
    scales: Floats
    codebook: Floats
    others: Arrays
    start: list[bytes]

    def plain(self, zeros: bool, deflating: bool) -> tuple[bytes, Sent]:
        """Returns the stream of raw or deflated bytes; with `zeros`, it leaves those out where that pays."""
        filled = self.among != 0
        places = support.encode(filled, deflating) if zeros else b""
        left_out = len(places) + self._packed(int(np.count_nonzero(filled))) < self._packed(self.among.size)
        supported = zeros and left_out
        sent = self._sent(supported, filled)
        planes = numbers.pack(numbers.byte_planes(sent.symbols), self.header.values)
        pieces = [self._first(), places if supported else b"", *planes, self._last()]
        return self._header(sent).write(self.start, pieces, deflating), sent

    def coded(self, sparse: bool) -> tuple[bytes, Sent]:
        """Returns the stream whose symbols are entropy coded, and their positions where few are not zero."""
        filled = self.among != 0
        supported = sparse and int(np.count_nonzero(filled)) * positions.DENSEST <= self.among.size
        sent = self._sent(supported, filled)
        planes = [_signs(sent.symbols)] if supported and self.header.values == "ternary" else _coded(sent.symbols)
        pieces = [self._first(), positions.encode(filled) if supported else b"", *planes, self._last()]
        return self._header(sent).write_coded(self.start, pieces), sent

    def _sent(self, supported: bool, filled: Bits) -> Sent:
        layouts = (Layout.MASK, Layout.WITHIN) if self.within else (Layout.ALL, Layout.SUPPORT)
        symbols = self.among[filled] if supported else self.among
        return Sent(layouts[supported], self.size, self.kept, symbols, self.scales, self.codebook, self.others)

    def _header(self, sent: Sent) -> Header:
        return replace(self.header, layout=sent.layout)

    def _packed(self, count: int) -> int:
        return numbers.packed_size(count, self.header.values)

    def _first(self) -> bytes:
        return b"".join(map(exact.pack, self.others))

    def _last(self) -> bytes:
        return self.scales.tobytes() + (clusters.write(self.codebook) if self.header.values == "clustered" else b"")


def take(
    reader: Reader,
    header: Header,
    content: Content,
    mask: Arrays | None,
    reference: Arrays | None = None,
    constants: Arrays | None = None,
) -> tuple[Arrays, Sent]:
    """Reads what `write` made, after its header."""
    values, layout = header.values, header.layout
    named = reader.take(support.DIGEST_BYTES) if header.difference else None
    lasting = _lasting(reader.take(support.DIGEST_BYTES), constants, content) if header.named else {}
    shapes = reader.shapes(content)
    known = None if named is None else _named(named, reference, content, shapes)
    kept = _kept(mask, content, shapes)
    if layout in _WITH_MASK and kept is None:
        raise PayloadError("the mask that it was sent with is missing")
    if layout == Layout.SUPPORT and kept is not None:
        raise PayloadError("it was sent without mask")
    lossy, exactly = _positions(content, header.named)
    float_shapes = [shapes[i] for i in lossy]
    exact_specs = [(shapes[i], content.arrays[i].dtype) for i in exactly]
    sizes = sizes_of(float_shapes)
    size = int(sizes.sum())
    where = kept if layout in _WITH_MASK else None
    among = count = size if where is None else int(np.count_nonzero(where))
    scale_bytes = numbers.scale_size(values) * len(sizes)
    most = sum(exact.packed_size(*spec) for spec in exact_specs) + numbers.packed_size(count, values) + scale_bytes
    most += clusters.most_bytes() if values == "clustered" else 0
    # A support is sent only where it makes the body smaller.
    body = reader.body(most - 1 if layout in _WITH_SUPPORT else most)
    others = [exact.unpack(body.take(exact.packed_size(*spec)), *spec) for spec in exact_specs]
    places: Bits | positions.Integers | None = None
    if layout in _WITH_SUPPORT:
        if reader.coding == Coding.ENTROPY:
            places = positions.decode(body, among)
            count = len(places)
        else:
            places = support.decode(body, among)
            count = int(np.count_nonzero(places))
    if reader.coding == Coding.ENTROPY and values == "ternary" and layout in _WITH_SUPPORT:
        bits = exact.unpack_bits(body.take((count + 7) // 8), count)
        sent = np.where(bits, np.int8(1), np.int8(-1))
    elif reader.coding == Coding.ENTROPY:
        raw = numbers.blank(count, values)
        for plane in numbers.plane_views(raw):
            plane[:] = ans.decode(body, count)
        sent = numbers.checked(_unfolded(numbers.from_bytes(raw, values)), values)
        del raw
    else:
        sent = numbers.unpack(body.take(numbers.packed_size(count, values)), count, values)
    scales = numbers.unpack_scales(body.take(scale_bytes), values)
    codebook = clusters.take(body) if values == "clustered" else np.empty(0, np.float32)
    body.end()
    del body  # the decoded arrays take its place
    if values == "clustered":
        clusters.check(sent, scales, codebook)
    if layout in _WITH_SUPPORT and np.count_nonzero(sent) < count:
        raise PayloadError("the support holds a zero")
    symbols = sent
    if places is not None:
        symbols = np.zeros(among, sent.dtype)
        symbols[places] = sent
        places = None
    if where is not None:
        inner, symbols = symbols, np.zeros(size, sent.dtype)
        symbols[where] = inner
        where = None
    decoded = _restore(symbols, scales, sizes, values, codebook)
    if known is not None:
        # What was sent is measured when somebody asks for it: the sum must not take its place.
        decoded = decoded.copy() if np.may_share_memory(decoded, sent) else decoded
        decoded = _added(decoded, known, kept if layout in _WITH_MASK else None)
    made = dict(zip([*lossy, *exactly], [*split(decoded, float_shapes), *others], strict=True)) | lasting
    return [made[i] for i in range(len(shapes))], Sent(layout, size, kept, sent, scales, codebook, others)


def digest(arrays: Arrays) -> bytes:
    """Returns 8 bytes by which both ends recognise the reference of a difference."""
    total = blake2b(digest_size=support.DIGEST_BYTES)
    for array in arrays:
        total.update(np.ascontiguousarray(array).data)
    return total.digest()


def _wanted(flat: Floats, known: Floats | None, residual: Floats | None) -> Floats:
    """Returns what the receiver lacks."""
    if known is None and residual is None:
        return flat
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = flat if known is None else flat - known
        wanted = wanted if residual is None else wanted + residual
    if not finite(wanted):
        raise PayloadError("the difference to what the receiver holds is not finite")
    return wanted


def _largest(flat: Floats, fraction: float, kept: Bits | None) -> Floats:
    """Returns the largest magnitudes, ceil(fraction n) of n that are kept; of equal ones the first. Others are zero."""
    size = flat.size if kept is None else int(np.count_nonzero(kept))
    count = min(max(1, int(np.ceil(fraction * size))), flat.size)
    magnitudes = np.abs(flat)
    if flat.size == 0 or count == flat.size:
        return flat
    least = np.partition(magnitudes, flat.size - count)[flat.size - count]
    chosen = magnitudes > least
    ties = np.flatnonzero(magnitudes == least)
    chosen[ties[: count - int(np.count_nonzero(chosen))]] = True
    return np.where(chosen, flat, np.float32(0))


def _quantise(flat: Floats, sizes: Sizes, values: numbers.ValueType, most: int) -> tuple[Symbols, Floats, Floats]:
    """Returns symbols, scales and codebook."""
    if values == "clustered":
        return clusters.fit(flat, sizes, most)
    return (*numbers.quantise(flat, sizes, values), np.empty(0, np.float32))


def _restore(symbols: Symbols, scales: Floats, sizes: Sizes, values: numbers.ValueType, codebook: Floats) -> Floats:
    """Undoes `_quantise`."""
    if values == "clustered":
        return clusters.restore(symbols, scales, sizes, codebook)
    return numbers.dequantise(symbols, scales, sizes, values)


def _signs(symbols: Symbols) -> bytes:
    """Returns a bit for each symbol, which is 1 or -1: they are as good as random."""
    return np.packbits(symbols > 0).tobytes()


def _coded(symbols: Symbols) -> list[bytes]:
    """Returns each byte plane, entropy coded."""
    return [ans.encode(plane) for plane in numbers.byte_planes(_folded(symbols))]


def _folded(symbols: Symbols) -> Symbols:
    """Returns small integers in the order 0, -1, 1, -2, ..., so that tables of frequencies are short."""
    if symbols.dtype != np.int8:
        return symbols
    return ((symbols << 1) ^ (symbols >> 7)).view(np.uint8)


def _unfolded(symbols: Symbols) -> Symbols:
    """Undoes `_folded`."""
    if symbols.dtype != np.int8:
        return symbols
    folded = symbols.view(np.uint8)
    return (folded >> 1 ^ -(folded & 1).view(np.int8).view(np.uint8)).view(np.int8)


def _reference(reference: Arrays, content: Content, shapes: Shapes) -> Arrays:
    """Returns the learned floats of a reference.

    Raises:
        PayloadError: It is not of the content's shapes.
    """
    if shapes_of(reference) != list(shapes):
        raise PayloadError(f"the reference has shapes {shapes_of(reference)}, expected {list(shapes)}")
    return [reference[i].astype(np.float32, copy=False) for i in _positions(content)[0]]


def _named(named: memoryview, reference: Arrays | None, content: Content, shapes: Shapes) -> Arrays:
    """Returns the reference, which has to be the one that a stream names."""
    if reference is None:
        raise PayloadError(f"it is a difference to {named.hex()}, but nothing is held")
    known = _reference(reference, content, shapes)
    if (held := digest(reference)) != named:
        raise PayloadError(f"it is a difference to {named.hex()}, but what is held is {held.hex()}")
    return known


def _added(difference: Floats, known: Arrays, kept: Bits | None) -> Floats:
    """Returns what a difference makes of its reference; in place."""
    with np.errstate(over="ignore"):
        for part, array in zip(split(difference, shapes_of(known)), known, strict=True):
            part += array
    if kept is not None:
        difference[~kept] = 0
    if not finite(difference):
        raise PayloadError("the sum of reference and difference is not finite")
    return difference


def _positions(content: Content, named: bool = False) -> tuple[list[int], list[int]]:
    """Returns the positions of what an encoding works on, and of what is exact; not of constants that are named."""
    lossy = [i for i, spec in enumerate(content.arrays) if spec.lossy]
    absent = {*lossy, *(content.constants if named else ())}
    return lossy, [i for i in range(len(content.arrays)) if i not in absent]


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
    if received != expected or (held := digest(constants)) != named:
        what = f"are {received}" if received != expected else f"have {held.hex()}"
        raise PayloadError(f"its constants are {named.hex()}, but those held {what}")
    return {i: array.copy() for i, array in zip(content.constants, constants, strict=True)}


def _kept(mask: Arrays | None, content: Content, shapes: Shapes) -> Bits | None:
    """Returns the mask over all learned floats; arrays that it does not cover are kept whole."""
    if mask is None:
        return None
    covered = [shapes[i] for i in content.masked]
    parts = dict(zip(content.masked, split(as_vector(mask, covered, "mask"), covered), strict=True))
    lossy, _ = _positions(content)
    return joined([parts[i] if i in parts else np.ones(shapes[i], np.bool_) for i in lossy], np.bool_)

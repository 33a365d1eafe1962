"""Arrays of numbers, dense or sparse.

Body: exact arrays | support | byte planes of the values sent, the highest first | scales. All little endian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire import entropy, exact, support
from fedcompress.wire import values as numbers
from fedcompress.wire.content import Arrays, Content
from fedcompress.wire.masks import as_vector
from fedcompress.wire.stream import Encoding, Header, Layout, Reader, write_lengths
from fedcompress.wire.values import Floats, Symbols
from fedcompress.wire.vector import Shapes, joined, shapes_of, sizes_of, split

Bits = NDArray[np.bool_]
Planes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Sent:
    """What a body holds.

    Attributes:
        layout: Which floats are sent.
        size: Number of floats.
        kept: Those that the mask keeps, None without a mask.
        symbols: Those that are sent.
        scales: One per float array for integer symbols, otherwise none.
        others: The exact arrays.
    """

    layout: Layout
    size: int
    kept: Bits | None
    symbols: Symbols
    scales: Floats
    others: Arrays

    def bound_bits(self) -> float:
        """Returns the entropy of what the receiver does not know."""
        planes = numbers.byte_planes(self.symbols)
        filled = self.symbols.view(f"u{self.symbols.itemsize}") != 0
        absent = self.size - self.symbols.size if self.layout == Layout.SUPPORT else 0
        bits = sum(map(entropy.array_bits, self.others)) + 8.0 * self.scales.nbytes
        if self.kept is None or self.layout == Layout.MASK:
            return bits + entropy.values_bits(planes, filled, absent)
        # The dense codec sends every value; that the mask leaves some of them zero is known all the same.
        return bits + sum(entropy.values_bits(planes[:, part], filled[part]) for part in (self.kept, ~self.kept))


def write(arrays: Arrays, content: Content, encoding: Encoding, mask: Arrays | None) -> tuple[bytes, Arrays, Sent]:
    """Returns the stream, the arrays that it decodes to, and what of them is sent."""
    shapes = shapes_of(arrays)
    floats, others = _apart(arrays, content)
    flat, sizes, kept = joined(floats, np.float32), sizes_of(shapes_of(floats)), _kept(mask, content, shapes)
    values = encoding.values if floats else "float32"
    sparse = encoding.codec == "sparse" and flat.size > 0
    if sparse and kept is not None:
        flat[~kept] = 0
    symbols, scales = numbers.quantise(flat, sizes, values)
    layout, where, coded = Layout.ALL, None, b""
    if sparse and kept is not None:
        layout, where = Layout.MASK, kept
    elif sparse:
        filled = symbols != 0
        coded = support.encode(filled, encoding.deflate)
        count = int(np.count_nonzero(filled))
        if len(coded) + numbers.packed_size(count, values) < numbers.packed_size(flat.size, values):
            layout, where = Layout.SUPPORT, filled
    sent = Sent(layout, flat.size, kept, symbols if where is None else symbols[where], scales, others)
    planes = numbers.byte_planes(sent.symbols)
    pieces = [
        b"".join(map(exact.pack, others)),
        coded if layout == Layout.SUPPORT else b"",
        *numbers.pack(planes, values),
        scales.tobytes(),
    ]
    data = Header(values, layout).write(write_lengths(shapes, content), pieces, encoding.deflate)
    decoded = split(numbers.dequantise(symbols, scales, sizes, values), shapes_of(floats))
    return data, _together(decoded, [a.copy() for a in others], content), sent


def take(reader: Reader, header: Header, content: Content, mask: Arrays | None) -> tuple[Arrays, Sent]:
    """Reads what `write` made, after its header."""
    values, layout = header.values, header.layout
    shapes = reader.shapes(content)
    kept = _kept(mask, content, shapes)
    if layout != Layout.ALL and (kept is None) == (layout == Layout.MASK):
        raise PayloadError("the mask that it was sent with is missing" if kept is None else "it was sent without mask")
    float_shapes = [shape for shape, spec in zip(shapes, content.arrays, strict=True) if spec.floating]
    exact_specs = [(shape, spec.dtype) for shape, spec in zip(shapes, content.arrays, strict=True) if not spec.floating]
    sizes = sizes_of(float_shapes)
    size = int(sizes.sum())
    where = kept if layout == Layout.MASK else None
    count = size if where is None else int(np.count_nonzero(where))
    scale_bytes = numbers.scale_size(values) * len(sizes)
    most = sum(exact.packed_size(*spec) for spec in exact_specs) + numbers.packed_size(count, values) + scale_bytes
    # A support is sent only where it makes the body smaller.
    body = reader.body(most - 1 if layout == Layout.SUPPORT else most)
    others = [exact.unpack(body.take(exact.packed_size(*spec)), *spec) for spec in exact_specs]
    if layout == Layout.SUPPORT:
        where = support.decode(body, size)
        count = int(np.count_nonzero(where))
    symbols = sent = numbers.unpack(body.take(numbers.packed_size(count, values)), count, values)
    scales = numbers.unpack_scales(body.take(scale_bytes), values)
    body.end()
    del body  # the decoded arrays take its place
    if layout == Layout.SUPPORT and np.count_nonzero(sent) < count:
        raise PayloadError("the support holds a zero")
    if where is not None:
        symbols = np.zeros(size, sent.dtype)
        symbols[where] = sent
        where = None
    decoded = split(numbers.dequantise(symbols, scales, sizes, values), float_shapes)
    return _together(decoded, others, content), Sent(layout, size, kept, sent, scales, others)


def _apart(arrays: Arrays, content: Content) -> tuple[Arrays, Arrays]:
    """Returns the float arrays and the others."""
    pairs = list(zip(arrays, content.arrays, strict=True))
    return [a for a, spec in pairs if spec.floating], [a for a, spec in pairs if not spec.floating]


def _together(floats: Arrays, others: Arrays, content: Content) -> Arrays:
    """Undoes `_apart`."""
    first, second = iter(floats), iter(others)
    return [next(first if spec.floating else second) for spec in content.arrays]


def _kept(mask: Arrays | None, content: Content, shapes: Shapes) -> Bits | None:
    """Returns the mask over all float arrays; those that it does not cover are kept whole."""
    if mask is None:
        return None
    covered = [shapes[i] for i in content.masked]
    parts = dict(zip(content.masked, split(as_vector(mask, covered, "mask"), covered), strict=True))
    floats = [i for i, spec in enumerate(content.arrays) if spec.floating]
    return joined([parts[i] if i in parts else np.ones(shapes[i], np.bool_) for i in floats], np.bool_)

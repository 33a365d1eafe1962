"""Masks: bool arrays, coded together relative to a mask that the receiver already has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire import entropy, positions, support
from fedcompress.wire.content import Arrays, Content
from fedcompress.wire.deflate import MOST_DEFLATED
from fedcompress.wire.shipped import EXACT
from fedcompress.wire.stream import Coding, Encoding, Header, Layout, Reader, write_lengths
from fedcompress.wire.vector import Shapes, joined, shapes_of, sizes_of, split

Bits = NDArray[np.bool_]


def write(masks: Arrays, content: Content, encoding: Encoding, reference: Arrays | None) -> bytes:
    """Returns the stream of a mask content: what is set, or what differs from the reference if that is smaller."""
    shapes = shapes_of(masks)
    bits, head = joined(masks, np.bool_), write_lengths(shapes, content)
    candidates: list[tuple[Layout, list[bytes], Bits]] = [(Layout.SUPPORT, head, bits)]
    if reference is not None:
        known = as_vector(reference, shapes, "reference")
        candidates.append((Layout.FLIPS, [support.digest(np.packbits(known)), *head], bits ^ known))
        if not encoding.entropy and len(stream := _plain(*candidates[1], encoding)) < _least_bytes(bits):
            return stream  # as for masks that are frozen: what is set need not be coded
    streams = [_plain(*candidate, encoding) for candidate in candidates]
    if encoding.entropy:
        streams += [
            Header(EXACT, layout).write_coded(start, [positions.encode(flips)])
            for layout, start, flips in candidates
            if np.count_nonzero(flips) * positions.DENSEST <= flips.size
        ]
    return min(streams, key=len)


def _plain(layout: Layout, start: list[bytes], flips: Bits, encoding: Encoding) -> bytes:
    places = [support.encode(flips, encoding.deflate)]
    return Header(EXACT, layout).write(start, places, encoding.deflate)


def _least_bytes(bits: Bits) -> int:
    """Returns a number of bytes that no support of these has less of, deflated or not."""
    return min(bits.size // 8, int(np.count_nonzero(bits))) // MOST_DEFLATED


def take(reader: Reader, header: Header, content: Content, reference: Arrays | None) -> Arrays:
    """Reads what `write` made, after its header."""
    digest = reader.take(support.DIGEST_BYTES) if header.layout == Layout.FLIPS else None
    shapes = reader.shapes(content)
    known = None if digest is None else _named(digest, reference, shapes)
    size = int(sizes_of(shapes).sum())
    body = reader.body(support.most_bytes(size))
    if reader.coding == Coding.ENTROPY:
        bits = np.zeros(size, np.bool_)
        bits[positions.decode(body, size)] = True
    else:
        bits = support.decode(body, size)
    body.end()
    if known is not None:
        np.logical_xor(bits, known, out=bits)
    return split(bits, shapes)


def _named(digest: memoryview, reference: Arrays | None, shapes: Shapes) -> Bits:
    """Returns the reference, which has to be the one that a stream names."""
    if reference is None:
        raise PayloadError(f"it refers to mask {digest.hex()}, but no earlier mask is held")
    known = as_vector(reference, shapes, "reference")
    if (ours := support.digest(np.packbits(known))) != digest:
        raise PayloadError(f"it refers to mask {digest.hex()}, but the one held is {ours.hex()}")
    return known


def bound_bits(masks: Arrays, reference: Arrays | None) -> float:
    """Returns n H(p), summed over arrays, with p the fraction of flips, or of ones where that is less."""
    bits = sum(map(entropy.array_bits, masks))
    if reference is not None and shapes_of(reference) == shapes_of(masks):
        bits = min(bits, sum(entropy.array_bits(mask ^ known) for mask, known in zip(masks, reference, strict=True)))
    return bits


def as_vector(masks: Arrays, shapes: Shapes, what: str) -> Bits:
    """Returns masks of the given shapes as one vector.

    Raises:
        PayloadError: They are not bool arrays of these shapes.
    """
    if shapes_of(masks) != list(shapes) or any(mask.dtype != np.bool_ for mask in masks):
        raise PayloadError(f"the {what} has shapes {shapes_of(masks)}, expected bool arrays {list(shapes)}")
    return joined(masks, np.bool_)

"""Streams of contents that are learned throughout stay as they are, byte for byte.

Without deflate, whose bytes are the business of the zlib at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import numpy as np
import pytest

from fedcompress.wire.codec import CODECS, Encoding, encode
from fedcompress.wire.content import Arrays, ArraySpec, Content
from fedcompress.wire.payload import WireFormat, encode_payload
from fedcompress.wire.references import Base, References
from fedcompress.wire.shipped import SHIPPED

SHAPES = ((3, 3, 1, 8), (8,), (3, 3, 8, 16), (16,), (256, 10), (10,))
PRUNABLE = (0, 2, 4)
WEIGHTS = Content(tuple(ArraySpec(shape) for shape in SHAPES), mask="mask", masked=PRUNABLE, delta=True)
MIXED = Content((ArraySpec((12, 9)), ArraySpec((None,), "int64", 30), ArraySpec((11,), "bool"), ArraySpec((7,))))


def numbers(rng: np.random.Generator, *shapes: tuple[int, ...]) -> Arrays:
    """Multiples of 1/256 in [-2, 2): no library that draws or rounds differently can change them."""
    return [(rng.integers(-512, 512, shape) / 256).astype(np.float32) for shape in shapes]


def streams(values: str) -> Iterator[bytes]:
    """Every codec and coding, whole and as differences, with a mask and without, on links with and without memory."""
    rng = np.random.Generator(np.random.PCG64(7))
    weights, known = numbers(rng, *SHAPES), numbers(rng, *SHAPES)
    mask = [rng.integers(0, 4, SHAPES[i]) == 0 for i in PRUNABLE]
    mixed = [*numbers(rng, (12, 9)), rng.integers(0, 10, 20), rng.integers(0, 2, 11) == 1, *numbers(rng, (7,))]
    other = [*numbers(rng, (12, 9)), *mixed[1:3], *numbers(rng, (7,))]
    residual = np.concatenate([a.reshape(-1) for a in numbers(rng, *SHAPES)])
    for codec in CODECS:
        for entropy in (False, True):
            for top_k in (1.0, 0.05) if codec == "sparse" else (1.0,):
                encoding = Encoding(codec, SHIPPED[values], False, entropy, top_k=top_k)
                for reference in (None, known):
                    for kept in (None, mask):
                        yield encode(weights, WEIGHTS, encoding, mask=kept, reference=reference).data
                yield encode(weights, WEIGHTS, encoding, reference=known, residual=residual).data
                yield encode(mixed, MIXED, encoding).data
                yield encode(mixed, MIXED, encoding, reference=other).data
    top_k = 0.05 if values == "ternary" else 1.0
    contents = {"weights": Content(WEIGHTS.arrays, delta=True), "kept": Content(MIXED.arrays[2:], kept=True)}
    wire = WireFormat(Encoding("sparse", SHIPPED[values], deflate=False, entropy=True, delta=True, top_k=top_k))
    held = References(bases={"weights": Base(3, known)}).after({"kept": mixed[2:]}, {"kept": contents["kept"]})
    for references in (References(), held):
        for generation in (None, 4, 6):
            payload = {"weights": weights, "kept": mixed[2:]}
            for item in encode_payload(payload, contents, wire, references, generation=generation).values():
                yield item.data


@pytest.mark.parametrize(
    ("values", "digest"),
    [
        ("float32", "9ff6ba59173e1c9a27323299a8ccb034"),
        ("float16", "634f30bb96accc06a487ce894395199a"),
        ("int8", "64d2f3784b5ce5e34b9cba08770f155f"),
        ("int4", "3867b4c100039fcafc7fed9ae9782674"),
        ("ternary", "4f296c651b868e9b95453f1c4c4dbaa5"),
        ("clustered", "c7bad4df6ff3f6286a2b6c78cb06da7f"),
    ],
)
def test_streams_golden(values: str, digest: str) -> None:
    """What is not entropy coded is as it was before arrays were told apart by what becomes of them."""
    total = sha256()
    for data in streams(values):
        total.update(len(data).to_bytes(4, "little") + data)
    assert total.hexdigest()[:32] == digest

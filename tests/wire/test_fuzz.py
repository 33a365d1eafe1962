"""Whatever arrives, a decoder returns what was declared or raises PayloadError, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from crossing import VALUE_TYPES, decode, of_any_type

from fedcompress.errors import PayloadError
from fedcompress.wire.codec import CODECS, Encoding, encode
from fedcompress.wire.content import Arrays, ArraySpec, Content

MUTATIONS = 30_000


@dataclass(frozen=True)
class Case:
    """A good stream, and what the decoder knows."""

    data: bytes
    content: Content
    mask: Arrays | None = None
    reference: Arrays | None = None
    constants: Arrays | None = None


def cases() -> list[Case]:
    rng = np.random.default_rng(0)
    made = []
    kept = [rng.random((12, 9)) < 0.2]
    sparse = (rng.standard_normal((12, 9)) * kept[0]).astype(np.float32)
    bias, labels = rng.standard_normal(7).astype(np.float32), rng.integers(0, 10, 20)
    flags = rng.random(11) < 0.5
    mixed = Content(
        (ArraySpec((12, 9)), ArraySpec((None,), limit=9), ArraySpec((None,), "int64", 30), ArraySpec((11,), "bool")),
        mask="mask",
        masked=(0,),
        value_types=VALUE_TYPES,
    )
    arrays = [sparse, bias, labels, flags]
    known = [a + np.float32(0.5) if a.dtype == np.float32 else a for a in arrays]
    kinds = ((False, False), (True, False), (False, True))
    for encoding in (Encoding(c, v, *kind) for c in CODECS for v in VALUE_TYPES for kind in kinds):
        for mask in (None, kept):
            for reference, top_k in ((None, 1.0), (known, 1.0), (known, 0.1)):
                if top_k < 1 and encoding.codec == "dense":
                    continue
                coded = encode(arrays, mixed, replace(encoding, top_k=top_k), mask=mask, reference=reference)
                made.append(Case(coded.data, mixed, mask, reference))
    # Statistics, and constants that are held or not.
    kinded = Content(
        (*mixed.arrays[:2], ArraySpec((6,), kind="statistic"), ArraySpec((5, 4), kind="constant"), mixed.arrays[3]),
        mask="mask",
        masked=(0,),
        value_types=VALUE_TYPES,
    )
    constants = [rng.standard_normal((5, 4)).astype(np.float32)]
    arrays = [sparse, bias, rng.standard_normal(6).astype(np.float32), *constants, flags]
    known = [a + np.float32(0.5) if a.dtype == np.float32 else a for a in arrays]
    for encoding in (Encoding(c, v, *kind) for c in CODECS for v in VALUE_TYPES for kind in kinds):
        for mask, reference, held in ((None, known, constants), (kept, None, constants), (kept, known, None)):
            coded = encode(arrays, kinded, encoding, mask=mask, reference=reference, constants=held)
            made.append(Case(coded.data, kinded, mask, reference, held))
    # Long enough for entropy coding to pay.
    many = rng.standard_normal(4000).astype(np.float32)
    for values in VALUE_TYPES:
        for top_k in (0.02, 0.2, 1.0):
            one = of_any_type(Content((ArraySpec((4000,)),)))
            encoding = Encoding("sparse", values, entropy=True, top_k=top_k)
            made.append(Case(encode([many], one, encoding, reference=[many * 0]).data, one, reference=[many * 0]))
    masks = Content((ArraySpec((12, 9), "bool"), ArraySpec((40,), "bool")), lossless=True)
    old = [kept[0], rng.random(40) < 0.1]
    new = [old[0], ~old[1]]
    for deflate, entropy in kinds:
        for reference in (None, old, new):
            data = encode(new, masks, Encoding(deflate=deflate, entropy=entropy), reference=reference).data
            made.append(Case(data, masks, reference=reference))
    large = [rng.random(3000) < 0.01]
    wide = Content((ArraySpec((None,), "bool", 5000),))
    made.append(Case(encode(large, wide, Encoding()).data, wide))
    made.append(Case(encode([np.zeros(2000, np.float32)], Content((ArraySpec((2000,)),)), Encoding()).data, wide))
    return made


def flip_bits(data: bytearray, rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    return bytes(data)


def replace_bytes(data: bytearray, rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 5)):
        data[rng.integers(len(data))] = rng.choice([0, 1, 2, 4, 127, 128, 255, int(rng.integers(256))])
    return bytes(data)


def truncate(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data[: rng.integers(len(data))])


def extend(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data) + rng.bytes(int(rng.integers(1, 20)))


def change_header(data: bytearray, rng: np.random.Generator) -> bytes:
    if rng.random() < 0.5 or len(data) < 2:
        data[0] = 1 << 5 | int(rng.integers(32))
    else:
        data[0], data[1] = 2 << 5 | int(rng.integers(32)), int(rng.integers(32))
    return bytes(data)


def change_start(data: bytearray, rng: np.random.Generator) -> bytes:
    for i in range(1, min(len(data), 26)):
        if rng.random() < 0.3:
            data[i] = rng.integers(256)
    return bytes(data)


def swap_parts(data: bytearray, rng: np.random.Generator) -> bytes:
    a, b, c = sorted(rng.integers(0, len(data) + 1, 3).tolist())
    return bytes(data[:a] + data[b:c] + data[a:b] + data[c:])


def noise(data: bytearray, rng: np.random.Generator) -> bytes:
    start = [1 << 5 | int(rng.integers(32))], [2 << 5 | int(rng.integers(32)), int(rng.integers(32))]
    return bytes(start[int(rng.integers(2))]) + rng.bytes(int(rng.integers(0, 2 * len(data))))


def as_declared(arrays: Arrays, content: Content) -> bool:
    return len(arrays) == len(content.arrays) and all(
        array.dtype == spec.dtype
        and len(array.shape) == len(spec.shape)
        and all(n <= spec.limit if want is None else n == want for n, want in zip(array.shape, spec.shape, strict=True))
        and (array.dtype != np.float32 or bool(np.isfinite(array).all()))
        for array, spec in zip(arrays, content.arrays, strict=True)
    )


@pytest.mark.parametrize(
    "mutate",
    [flip_bits, replace_bytes, truncate, extend, change_header, change_start, swap_parts, noise],
    ids=lambda f: f.__name__,
)
def test_mutated_streams(mutate: Callable[[bytearray, np.random.Generator], bytes]) -> None:
    rng = np.random.default_rng([ord(c) for c in mutate.__name__])
    good = cases()
    refused = 0
    for i in range(MUTATIONS // 8):
        case = good[i % len(good)]
        other = good[rng.integers(len(good))] if rng.random() < 0.1 else case
        data = mutate(bytearray(case.data), rng)
        try:
            arrays = decode(data, other.content, mask=other.mask, reference=other.reference, constants=other.constants)
        except PayloadError:
            refused += 1
        else:
            assert as_declared(arrays, other.content)
    assert refused > 0


def test_streams_without_mutation() -> None:
    for case in cases()[:-1]:
        known = {"mask": case.mask, "reference": case.reference, "constants": case.constants}
        assert as_declared(decode(case.data, case.content, **known), case.content)


@pytest.mark.parametrize("size", range(4))
def test_all_short_streams(size: int) -> None:
    """Every stream of up to two bytes, and some of three."""
    step = 1 if size < 3 else 257
    contents = [
        Content(()),
        Content((ArraySpec((1,), "bool"),)),
        Content((ArraySpec((2,)), ArraySpec((), "uint8"))),
        of_any_type(Content((ArraySpec((2,)),))),
        Content((ArraySpec((0,), kind="constant"), ArraySpec((), "uint8", kind="statistic"))),
    ]
    for number in range(0, 256**size, step):
        for content in contents:
            try:
                arrays = decode(number.to_bytes(size, "little"), content)
            except PayloadError:
                continue
            assert as_declared(arrays, content)

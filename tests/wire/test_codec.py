"""One content: round trips, golden sizes, and who refuses what."""

from __future__ import annotations

import tracemalloc
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from crossing import VALUE_TYPES, decode, of_any_type
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from fedcompress.errors import InputError, PayloadError
from fedcompress.wire.codec import CODECS, Encoded, Encoding, encode, read
from fedcompress.wire.content import Arrays, ArraySpec, Content
from fedcompress.wire.shipped import SHIPPED

if TYPE_CHECKING:
    from conftest import Model

ENCODINGS = [
    Encoding(c, v, deflate, entropy)
    for c in CODECS
    for v in VALUE_TYPES
    for deflate, entropy in ((False, False), (True, False), (True, True))
]
encodings = st.sampled_from(ENCODINGS)
floats = st.floats(-(2.0**100), 2.0**100, width=32) | st.just(0.0)


def same(received: Arrays, sent: Arrays) -> bool:
    return [(a.shape, a.dtype, a.tobytes()) for a in received] == [(a.shape, a.dtype, a.tobytes()) for a in sent]


def crossed(arrays: Arrays, content: Content, encoding: Encoding, **known: Arrays | None) -> Encoded:
    """Encodes, decodes, and checks that both ends have the same."""
    sent = encode(arrays, content, encoding, **known)
    content = of_any_type(content)
    received = read(sent.data, content, **known)
    assert same(received.arrays, sent.arrays)
    assert same(decode(sent.data, content, **known), sent.arrays)
    assert all(a.flags.writeable for a in received.arrays)
    figures = [(e.data, e.dense_bytes, e.bound_bytes) for e in (sent, received)]
    assert figures[0] == figures[1]
    return sent


@st.composite
def contents(draw: st.DrawFn) -> tuple[Arrays, Content]:
    """A few arrays of any dtype and shape, some with a free length, and their declaration."""
    arrays, specs = [], []
    for _ in range(draw(st.integers(0, 4))):
        dtype = draw(st.sampled_from(["float32", "float32", "bool", "uint8", "int64"]))
        shape = tuple(draw(st.lists(st.integers(0, 5), max_size=3)))
        elements = floats if dtype == "float32" else None
        arrays.append(draw(numpy_arrays(dtype, shape, elements=elements)))
        free = bool(shape) and draw(st.booleans())
        specs.append(ArraySpec((None, *shape[1:]) if free else shape, dtype, 7 if free else 0))
    return arrays, Content(tuple(specs))


@given(contents(), encodings)
@settings(max_examples=300)
def test_any_content_crosses(drawn: tuple[Arrays, Content], encoding: Encoding) -> None:
    arrays, content = drawn
    sent = crossed(arrays, content, encoding)
    for array, back in zip(arrays, sent.arrays, strict=True):
        if encoding.values == "float32" or array.dtype != np.float32:
            assert np.array_equal(array, back)
    expected = 0 if content.is_mask else sum(a.size * (4 if a.dtype == np.float32 else a.itemsize) for a in arrays)
    assert sent.dense_bytes == expected


@given(
    st.lists(numpy_arrays(np.float32, st.integers(0, 30), elements=floats), min_size=1, max_size=4),
    st.data(),
    encodings,
)
@settings(max_examples=200)
def test_any_mask_crosses(arrays: Arrays, data: st.DataObject, encoding: Encoding) -> None:
    masked = tuple(i for i in range(len(arrays)) if data.draw(st.booleans()))
    mask = [data.draw(numpy_arrays(np.bool_, arrays[i].shape)) for i in masked]
    content = Content(tuple(ArraySpec(a.shape) for a in arrays), mask="mask", masked=masked)
    sent = crossed(arrays, content, encoding, mask=mask)
    if encoding.codec == "sparse":
        for i, kept in zip(masked, mask, strict=True):
            assert not sent.arrays[i][~kept].any()
            if encoding.values == "float32":
                assert np.array_equal(sent.arrays[i], np.where(kept, arrays[i], 0))
    elif encoding.values == "float32":
        assert all(map(np.array_equal, sent.arrays, arrays))


@given(st.lists(numpy_arrays(np.bool_, st.integers(0, 60)), min_size=1, max_size=3), st.booleans(), st.data())
def test_any_mask_crosses_against_a_reference(masks: Arrays, deflate: bool, data: st.DataObject) -> None:
    reference = [data.draw(numpy_arrays(np.bool_, m.shape)) for m in masks]
    content = Content(tuple(ArraySpec(m.shape, "bool") for m in masks))
    sent = crossed(masks, content, Encoding(deflate=deflate), reference=reference)
    assert same(sent.arrays, masks)
    assert sent.dense_bytes == 0
    if same(masks, reference):
        assert sent.bound_bytes == 0
        assert len(sent.data) <= 10


def test_header_golden() -> None:
    """Version 1 (001) | not deflated | layout ALL (00) | float32 (00), then -2.0 = C0000000 from the high byte."""
    content = Content((ArraySpec((1,)),))
    assert encode([np.array([-2.0])], content, Encoding()).data == bytes([0b00100000, 0xC0, 0, 0, 0])


@pytest.mark.parametrize(
    ("sparsity", "bits_per_weight"), [(0.5, 1 + 32 * 0.5), (0.8, 1 + 32 * 0.2), (0.9, 1 + 32 * 0.1)]
)
def test_bitmap_and_float32_golden(sparsity: float, bits_per_weight: float) -> None:
    """1 bit per weight for the bitmap and 32 for each that is kept: 17, 7.4 and 4.2 bits, before deflate.

    At 0.9 coordinates with one-byte gaps are smaller (8 * 0.1 = 0.8 bits instead of 1), so 4.2 is not reached.
    """
    size = 64_000
    weights = np.random.default_rng(0).standard_normal(size)
    weights[np.random.default_rng(1).permutation(size)[: round(size * sparsity)]] = 0
    sent = crossed([weights], Content((ArraySpec((size,)),)), Encoding("sparse", deflate=False))
    gaps = 8 * (1 - sparsity) + 4 * 8 / size
    expected = min(1, gaps) + 32 * (1 - sparsity)
    assert len(sent.data) * 8 / size == pytest.approx(expected, abs=20 / size)
    assert expected <= bits_per_weight


@pytest.mark.parametrize(("values", "bits"), [("float32", 3.67), ("float16", 2.07), ("int8", 1.27), ("int4", 0.87)])
def test_deflated_size_is_near_the_bound(values: str, bits: float) -> None:
    """H(0.1) + b * 0.1 bits per weight at s = 0.9; entropy-coded normal values stay below that.

    int4: 0.87 bits, 37 times under dense float32.
    """
    size = 262_144
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(size) * (rng.random(size) < 0.1)
    sent = crossed([weights], Content((ArraySpec((size,)),)), Encoding("sparse", SHIPPED[values]))
    assert len(sent.data) * 8 / size < bits
    assert sent.bound_bytes <= len(sent.data) <= 1.02 * sent.bound_bytes


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bound_is_below_what_is_sent(encoding: Encoding, model: Model, dense_model: Model) -> None:
    for pruned in (model, dense_model):
        for mask in (None, pruned.mask):
            sent = crossed(pruned.weights, pruned.contents["weights"], encoding, mask=mask)
            assert 0 < sent.bound_bytes <= len(sent.data) <= sent.dense_bytes + 1


def test_what_the_mask_says_is_not_in_the_bound(model: Model) -> None:
    """The dense codec sends the zeros, the sparse one does not; what has to be known is the same."""
    weights = model.contents["weights"]
    dense, sparse = (crossed(model.weights, weights, Encoding(c), mask=model.mask) for c in CODECS)
    unknown = crossed(model.weights, weights, Encoding("sparse"))
    assert dense.bound_bytes == sparse.bound_bytes < unknown.bound_bytes
    assert len(sparse.data) < len(unknown.data) < len(dense.data)


def test_mask_bound_golden(model: Model) -> None:
    """6,088 prunable weights, a tenth kept in each array: 6,088 * 0.468996 / 8 = 357 bytes, up to rounding."""
    sent = crossed(model.mask, model.contents["mask"], Encoding())
    assert sent.bound_bytes == pytest.approx(357, abs=1)
    assert sent.bound_bytes < len(sent.data) < 1.15 * sent.bound_bytes


def test_frozen_mask_costs_ten_bytes(model: Model) -> None:
    """Header, 8 bytes of digest, "no flips"."""
    sent = crossed(model.mask, model.contents["mask"], Encoding(), reference=model.mask)
    assert len(sent.data) == 10
    assert sent.bound_bytes == 0


def test_few_flips_cost_few_bytes(model: Model) -> None:
    """Header and digest 9, kind and number 5, two gaps of 2 bytes; 2 n H(1/n) is about log2(e n) bits each."""
    mask = [m.copy() for m in model.mask]
    mask[2].reshape(-1)[[5, 1500]] ^= True
    sent = crossed(mask, model.contents["mask"], Encoding(), reference=model.mask)
    assert len(sent.data) <= 9 + 5 + 4
    assert 0 < sent.bound_bytes <= 4


def test_an_unrelated_reference_does_no_harm(model: Model) -> None:
    content = model.contents["mask"]
    other = [np.random.default_rng(0).random(m.shape) < 0.5 for m in model.mask]
    fresh = crossed(model.mask, content, Encoding())
    assert len(crossed(model.mask, content, Encoding(), reference=other).data) == len(fresh.data)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_negative_zeros_become_zeros(encoding: Encoding) -> None:
    """-1e-20 is one at every type but float32."""
    array = np.array([-0.0, 1, -1e-20] * 20, np.float32)
    decoded = crossed([array], Content((ArraySpec((60,)),)), encoding).arrays[0]
    assert not np.signbit(decoded[decoded == 0]).any()


def test_a_scale_belongs_to_what_is_kept() -> None:
    """The largest weight is pruned: it must not widen the steps of the others, 1 / 127."""
    content = Content((ArraySpec((3,)),), mask="mask", masked=(0,))
    sent = crossed(
        [np.array([100.0, 1.0, 0.5])], content, Encoding("sparse", SHIPPED["int8"]), mask=[np.array([0, 1, 1], bool)]
    )
    assert sent.arrays[0][0] == 0
    assert abs(sent.arrays[0][2] - 0.5) <= 0.5 / 127


def test_what_the_sender_keeps_is_its_own() -> None:
    """Later changes to what was passed in do not reach what was encoded."""
    arrays = [np.ones(3, np.float32), np.ones(3, np.int64)]
    for content, given_arrays in (
        (Content((ArraySpec((3,)), ArraySpec((3,), "int64"))), arrays),
        (Content((ArraySpec((3,), "bool"),)), [np.ones(3, np.bool_)]),
    ):
        sent = encode(given_arrays, content, Encoding())
        for array in given_arrays:
            array[:] = 0
        assert all(array.all() for array in sent.arrays)


def test_unknown_codecs_are_refused() -> None:
    with pytest.raises(InputError, match=r"'spares' is no codec of the wire format. Did you mean 'sparse'\?"):
        Encoding("spares")  # type: ignore[arg-type]


class TestRefusals:
    """What a decoder says."""

    def test_a_mask_that_is_missing(self, model: Model) -> None:
        content = model.contents["weights"]
        data = encode(model.weights, content, Encoding("sparse"), mask=model.mask).data
        with pytest.raises(PayloadError, match="weights cannot be decoded: the mask that it was sent with is missing"):
            decode(data, content, name="weights")

    def test_a_mask_that_was_not_used(self, model: Model) -> None:
        content = model.contents["weights"]
        data = encode(model.weights, content, Encoding("sparse")).data
        with pytest.raises(PayloadError, match="sent without mask"):
            decode(data, content, mask=model.mask)

    def test_a_mask_of_other_shapes(self, model: Model) -> None:
        for mask in (model.mask[:-1], [m.reshape(-1) for m in model.mask], [m * 1.0 for m in model.mask]):
            with pytest.raises(PayloadError, match="the mask has shapes"):
                encode(model.weights, model.contents["weights"], Encoding("sparse"), mask=mask)

    def test_a_reference_that_is_not_held(self, model: Model) -> None:
        content = model.contents["mask"]
        data = encode(model.mask, content, Encoding(), reference=model.mask).data
        with pytest.raises(PayloadError, match=r"mask cannot be decoded: it refers to mask .* but no earlier mask"):
            decode(data, content, name="mask")
        with pytest.raises(PayloadError, match="but the one held is"):
            decode(data, content, reference=[~m for m in model.mask])

    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_every_truncation_and_extension(self, encoding: Encoding) -> None:
        arrays = [np.linspace(-1, 1, 40, dtype=np.float32), np.arange(9, dtype=np.uint8)]
        content = of_any_type(Content((ArraySpec((None,), limit=50), ArraySpec((9,), "uint8"))))
        data = encode(arrays, content, encoding).data
        for bad in [*(data[:i] for i in range(len(data))), data + b"\0", data + data]:
            with pytest.raises(PayloadError):
                decode(bad, content)

    def test_lengths_above_the_limit(self) -> None:
        content = Content((ArraySpec((None,), limit=1000),))
        data = encode([np.zeros(1000)], content, Encoding()).data
        with pytest.raises(PayloadError, match="length 1000, expected at most 999"):
            decode(data, Content((ArraySpec((None,), limit=999),)))

    def test_other_versions(self) -> None:
        with pytest.raises(PayloadError, match="version 7 is unknown, expected 1 or 2"):
            decode(bytes([0xE0]), Content(()))


@pytest.mark.parametrize("dtype", ["float32", "bool", "uint8"])
@pytest.mark.parametrize("layout", [0, 2])
def test_memory_stays_near_what_is_declared(dtype: str, layout: int) -> None:
    """A stream that inflates to a thousand times its length is cut at the declared size."""
    size = 1_000_000
    content = Content((ArraySpec((size,), dtype), ArraySpec((1,), "uint8")))
    bomb = encode([np.zeros(64_000_000, np.uint8)], Content((ArraySpec((64_000_000,), "uint8"),)), Encoding()).data
    assert len(bomb) < 100_000
    declared = sum(spec.most * np.dtype(spec.dtype).itemsize for spec in content.arrays)
    tracemalloc.start()
    with pytest.raises(PayloadError):
        decode(bytes([bomb[0] | layout << 2]) + bomb[1:], content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * declared + 200_000


@pytest.mark.parametrize("layout", [0, 2, 4])
@pytest.mark.parametrize("version", [1, 2])
def test_memory_where_nothing_is_declared(version: int, layout: int) -> None:
    """A free length of 0, or a mask that keeps nothing, leaves no room for a support, whatever it inflates to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(64_000_000)) + packer.flush()
    if version == 1 and layout == 4:  # which it cannot say
        layout = 1
    header = bytes([layout << 2 | 1 << 4 | 1 << 5] if version == 1 else [1 | 2 << 5, layout])
    free = Content((ArraySpec((None, 10), limit=500),))
    masked = Content((ArraySpec((64,)),), mask="mask", masked=(0,))
    tracemalloc.start()
    with pytest.raises(PayloadError):
        decode(header + bytes(4) + bomb, free)
    with pytest.raises(PayloadError):
        decode(header + bomb, masked, mask=[np.zeros(64, bool)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("density", [0.2, 0.9])
def test_memory_of_good_payloads(encoding: Encoding, density: float) -> None:
    """At most twice the declared arrays, the decoded ones included."""
    rng = np.random.default_rng(0)
    weights = (rng.standard_normal(300_000) * (rng.random(300_000) < density)).astype(np.float32)
    content = of_any_type(Content((ArraySpec((300_000,)),)))
    data = encode([weights], content, encoding).data
    tracemalloc.start()
    decode(data, content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * weights.nbytes + 200_000


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if e.codec == "sparse"])
@pytest.mark.parametrize("top_k", [0.05, 0.24, 1.0])
def test_memory_of_good_differences(encoding: Encoding, top_k: float) -> None:
    """As above, beside the reference, which the receiver holds anyway."""
    rng = np.random.default_rng(0)
    weights, reference = (rng.standard_normal(300_000).astype(np.float32) for _ in range(2))
    content = of_any_type(Content((ArraySpec((300_000,)),)))
    data = encode([weights], content, replace(encoding, top_k=top_k), reference=[reference]).data
    tracemalloc.start()
    decode(data, content, reference=[reference])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * weights.nbytes + 200_000

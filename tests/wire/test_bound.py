"""Both ends measure a content alike, and what is sent without any coding is never below its entropy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from crossing import VALUE_TYPES, of_any_type
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from fedcompress.wire.codec import CODECS, Encoded, Encoding, encode, read
from fedcompress.wire.content import ArraySpec, Content
from fedcompress.wire.shipped import SHIPPED

floats = st.floats(-(2.0**60), 2.0**60, width=32) | st.integers(-3, 3).map(float)


@st.composite
def exchanges(draw: st.DrawFn) -> dict[str, Any]:
    """What `encode` is called with: floats and exact arrays, with or without mask, reference and residual."""
    sizes = draw(st.lists(st.integers(0, 40), min_size=1, max_size=3))
    numbers = [draw(numpy_arrays(np.float32, size, elements=floats)) for size in sizes]
    labels = draw(numpy_arrays(np.uint8, 5))
    masked = tuple(i for i in range(len(sizes)) if draw(st.booleans()))
    mask = [draw(numpy_arrays(np.bool_, sizes[i])) for i in masked] if draw(st.booleans()) else None
    known = [draw(numpy_arrays(np.float32, size, elements=floats)) for size in sizes]
    codec = draw(st.sampled_from(CODECS))
    deflate, entropy = draw(st.sampled_from([(False, False), (True, False), (False, True), (True, True)]))
    top_k = draw(st.sampled_from([1.0, 0.1])) if codec == "sparse" else 1.0
    specs = (*(ArraySpec((size,)) for size in sizes), ArraySpec((5,), "uint8"))
    return {
        "arrays": [*numbers, labels],
        "content": of_any_type(Content(specs, mask="mask", masked=masked) if mask is not None else Content(specs)),
        "encoding": Encoding(codec, draw(st.sampled_from(VALUE_TYPES)), deflate, entropy, top_k=top_k),
        "mask": mask,
        "reference": [*known, labels] if draw(st.booleans()) else None,
    }


def received(sent: Encoded, asked: dict[str, Any]) -> Encoded:
    return read(sent.data, asked["content"], mask=asked["mask"], reference=asked["reference"])


@given(exchanges())
@settings(max_examples=200)
def test_both_ends_have_the_same_figures(asked: dict[str, Any]) -> None:
    sent = encode(**asked)
    got = received(sent, asked)
    assert [a.tobytes() for a in got.arrays] == [a.tobytes() for a in sent.arrays]
    assert (got.data, got.dense_bytes, got.bound_bytes) == (sent.data, sent.dense_bytes, sent.bound_bytes)


@given(exchanges())
@settings(max_examples=200)
def test_the_bound_is_at_most_what_is_sent(asked: dict[str, Any]) -> None:
    """For streams neither deflated nor entropy coded, in which every value or every one that a mask keeps is sent.

    There a symbol of b bits has at most b bits of entropy, and the header pays for rounding up. Values of several byte
    planes have their zeros coded apart, which costs n H(z / n) bits for z zeros of n: at most the 8 bits a plane that
    those zeros take, up to 24,000 values for each zero of float16. Deflate, an entropy coder and coordinates may all
    find an order that the entropy of independent symbols does not know, and then send less.
    """
    plain = replace(asked["encoding"], deflate=False, entropy=False, top_k=1.0)
    if asked["mask"] is None or asked["reference"] is not None:
        plain = replace(plain, codec="dense")
    sent = encode(**{**asked, "encoding": plain})
    assert received(sent, asked).bound_bytes == sent.bound_bytes <= len(sent.data)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("size", "changed", "bound"), [(10_000, 10, 15), (10_000, 1, 2), (4_000, 400, 235)])
def test_few_changes_of_float32_golden(codec: str, size: int, changed: int, bound: int) -> None:
    """Equal changes: which they are is all there is to know, n H(p) bits; 10 of 10,000 are 114.1 bits, 15 bytes."""
    known = (np.random.default_rng(0).integers(-512, 512, size) / 256).astype(np.float32)
    new = known.copy()
    new[:: size // changed][:changed] += 1
    content = Content((ArraySpec((size,)),))
    sent = encode([new], content, Encoding(codec), reference=[known])  # type: ignore[arg-type]
    got = read(sent.data, content, reference=[known])
    assert np.array_equal(got.arrays[0], new)
    assert got.bound_bytes == sent.bound_bytes == bound


@pytest.mark.parametrize("values", ["int8", "int4", "clustered"])
@pytest.mark.parametrize("entropy", [False, True])
def test_scales_of_arrays_that_are_zero_say_nothing(values: Any, entropy: bool) -> None:
    """Twelve scales of 32 bits, deflated, were less than their bound, as when nothing has changed since the start."""
    known = [np.linspace(-1, 1, 60, dtype=np.float32) for _ in range(12)]
    content = Content(tuple(ArraySpec((60,)) for _ in known))
    sent = encode(known, content, Encoding("sparse", SHIPPED[values], entropy=entropy), reference=known)
    assert read(sent.data, content, reference=known).bound_bytes == sent.bound_bytes == 0


def test_a_scale_of_what_is_not_zero_counts_golden() -> None:
    """Two symbols of equal frequency are a bit each, 60 of them 7.5 bytes, and 4 are the scale's."""
    content = Content((ArraySpec((60,)), ArraySpec((0,))))
    pair = [np.repeat(np.float32([2, 3]), 30), np.zeros(0, np.float32)]
    assert encode(pair, content, Encoding("dense", SHIPPED["int8"])).bound_bytes == 12

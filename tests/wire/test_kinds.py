"""Statistics cross as they are, each time; constants cross as they are, once; a wire format works on the rest alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from crossing import VALUE_TYPES, decode
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from fedcompress.errors import InputError, PayloadError
from fedcompress.link.client import Residuals
from fedcompress.wire.codec import CODECS, Encoding, encode, read
from fedcompress.wire.content import Arrays, ArraySpec, Content, Kind, weights_content
from fedcompress.wire.payload import WireFormat, encode_payload, read_payload
from fedcompress.wire.references import Base, References, bases_of, from_tree, to_tree
from fedcompress.wire.shipped import SHIPPED

KINDS: tuple[Kind, ...] = ("constant", "learned", "statistic", "learned", "constant", "statistic")
SHAPES = ((3, 4), (40,), (5,), (4, 5), (), (2, 2))
CONTENT = Content(
    tuple(ArraySpec(shape, kind=kind) for shape, kind in zip(SHAPES, KINDS, strict=True)),
    mask="mask",
    masked=(1,),
    value_types=VALUE_TYPES,
)
LEARNED = 60
ENCODINGS = [
    replace(Encoding(codec, values, deflate, entropy), top_k=top_k)
    for codec in CODECS
    for values in VALUE_TYPES
    for deflate, entropy in ((False, False), (True, False), (True, True))
    for top_k in ((1.0, 0.1) if codec == "sparse" else (1.0,))
]
any_float = st.floats(width=32, allow_nan=False, allow_infinity=False)
"""Subnormal ones, negative zeros and the largest of all among them: nothing happens to them."""


def model(seed: int, scale: float = 1.0) -> Arrays:
    rng = np.random.default_rng(seed)
    return [np.asarray(scale * rng.standard_normal(shape), np.float32) for shape in SHAPES]


def bits(arrays: Arrays) -> list[bytes]:
    return [array.tobytes() for array in arrays]


def of_kind(arrays: Arrays, kind: Kind) -> Arrays:
    return [array for array, known in zip(arrays, KINDS, strict=True) if known == kind]


@given(st.sampled_from(ENCODINGS), st.data(), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=60)
def test_what_is_not_learned_crosses_to_the_bit(
    encoding: Encoding, data: st.DataObject, masked: bool, differs: bool, held: bool
) -> None:
    """Whatever becomes of the rest: mask, difference, top-k, residual."""
    arrays, known = model(1), model(2)
    for i, kind in enumerate(KINDS):
        if kind != "learned":
            arrays[i] = data.draw(numpy_arrays(np.float32, SHAPES[i], elements=any_float))
            known[i] = data.draw(numpy_arrays(np.float32, SHAPES[i], elements=any_float))
    asked = {
        "mask": [np.arange(40) % 3 == 0] if masked else None,
        "reference": known if differs else None,
        "constants": of_kind(arrays, "constant") if held else None,
    }
    sent = encode(arrays, CONTENT, encoding, residual=np.ones(LEARNED, np.float32), **asked)
    got = read(sent.data, CONTENT, **asked)
    for i, kind in enumerate(KINDS):
        if kind != "learned":
            assert got.arrays[i].tobytes() == arrays[i].tobytes()
    assert bits(got.arrays) == bits(sent.arrays) == bits(decode(sent.data, CONTENT, **asked))
    assert all(array.flags.writeable for array in got.arrays)
    assert got.bound_bytes == sent.bound_bytes
    assert got.dense_bytes == sent.dense_bytes == 4 * sum(array.size for array in arrays)
    assert sent.error is not None
    assert sent.error.shape == (LEARNED,)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_learned_crosses_as_if_it_were_alone(encoding: Encoding) -> None:
    """The largest statistic neither widens a scale nor takes a place among the largest changes."""
    encoding, arrays, known = replace(encoding, feedback=True), model(1), model(2)
    arrays[2] *= np.float32(1e30)
    alone = Content(tuple(spec for spec in CONTENT.arrays if spec.lossy))
    whole = encode(arrays, replace(CONTENT, mask=None, masked=()), encoding, reference=known)
    part = encode(of_kind(arrays, "learned"), alone, encoding, reference=of_kind(known, "learned"))
    assert bits(of_kind(whole.arrays, "learned")) == bits(part.arrays)
    assert whole.error is not None
    assert part.error is not None
    assert whole.error.tobytes() == part.error.tobytes()


def test_constants_that_are_held_cross_as_their_digest() -> None:
    """Plain float32: header 1, 82 values. Held: header 2, digest 8, 69 values; 13 constants less."""
    arrays = model(1)
    constants = of_kind(arrays, "constant")
    plain = Encoding(deflate=False)
    first = encode(arrays, CONTENT, plain)
    again = encode(arrays, CONTENT, plain, constants=constants)
    assert (len(first.data), len(again.data)) == (1 + 4 * 82, 2 + 8 + 4 * 69)
    assert first.dense_bytes == again.dense_bytes == 4 * 82
    assert again.bound_bytes < first.bound_bytes


@pytest.mark.parametrize("change", [np.float32(1e-30), np.float32(-0.0)])
def test_constants_that_are_others_cross_whole(change: np.float32) -> None:
    """A strategy may hand out another frozen head; a negative zero is not a zero."""
    arrays, held = model(1), model(1)
    arrays[0][0, 0], held[0][0, 0] = change, 0
    sent = encode(arrays, CONTENT, Encoding(deflate=False), constants=of_kind(held, "constant"))
    assert len(sent.data) == 1 + sent.dense_bytes
    assert decode(sent.data, CONTENT, constants=of_kind(held, "constant"))[0].tobytes() == arrays[0].tobytes()


class TestRefusals:
    """What a decoder says, and what cannot be declared."""

    arrays = model(1)
    constants = of_kind(arrays, "constant")
    data = encode(arrays, CONTENT, Encoding(), constants=constants).data

    def test_constants_that_are_not_held(self) -> None:
        with pytest.raises(PayloadError, match=r"weights cannot be decoded: its constants are \w{16}, but nothing"):
            decode(self.data, CONTENT, name="weights")
        others = [array + 1 for array in self.constants]
        with pytest.raises(PayloadError, match=r"its constants are \w{16}, but those held have \w{16}"):
            decode(self.data, CONTENT, constants=others)
        with pytest.raises(PayloadError, match=r"but those held are \[\(\(12,\), 'float32'\)\]"):
            decode(self.data, CONTENT, constants=[self.constants[0].reshape(12)])

    def test_constants_where_none_are_declared(self) -> None:
        learned = Content(tuple(replace(spec, kind="learned") for spec in CONTENT.arrays))
        with pytest.raises(PayloadError, match=r"header 0x\w\w does not fit the declared arrays"):
            decode(self.data, learned, constants=self.constants)

    def test_statistics_that_are_not_finite(self) -> None:
        content = Content((ArraySpec((2,), kind="statistic"),))
        data = bytearray(encode([np.ones(2, np.float32)], content, Encoding(deflate=False)).data)
        data[3:5] = b"\x80\x7f"  # the high bytes of an infinity
        with pytest.raises(PayloadError, match="a value is not finite, of 2"):
            decode(bytes(data), content)
        with pytest.raises(PayloadError, match="holds 1 non-finite values of 2"):
            encode([np.array([1.0, np.inf])], content, Encoding())

    def test_declarations(self) -> None:
        with pytest.raises(InputError, match="declared as 'frozen'; expected learned, statistic, constant"):
            ArraySpec((2,), kind="frozen")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="is declared as constant; expected a known length"):
            ArraySpec((None,), limit=3, kind="constant")
        with pytest.raises(InputError, match=r"learned float arrays, which are \[1, 3\]"):
            Content(CONTENT.arrays, mask="mask", masked=(2,))
        with pytest.raises(ValueError, match="shorter"):
            weights_content(self.arrays, kinds=KINDS[:-1])


@pytest.mark.parametrize("kinds", [("statistic", "statistic"), ("constant", "constant"), ("constant", "statistic")])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_has_to_be_learned(encoding: Encoding, kinds: tuple[Kind, ...]) -> None:
    content = Content((ArraySpec((3,), kind=kinds[0]), ArraySpec((2,), kind=kinds[1])), delta=True)
    arrays = [np.arange(3, dtype=np.float32), np.arange(2, dtype=np.float32)]
    held = [array for array, kind in zip(arrays, kinds, strict=True) if kind == "constant"] or None
    sent = encode(arrays, content, encoding, reference=arrays, constants=held)
    assert bits(read(sent.data, content, reference=arrays, constants=held).arrays) == bits(arrays)


def test_constants_of_any_dtype_are_held() -> None:
    content = Content((ArraySpec((50,), "int64", kind="constant"), ArraySpec((3,), "bool", kind="constant")))
    arrays = [np.arange(50), np.array([True, False, True])]
    assert len(encode(arrays, content, Encoding(), constants=arrays).data) == 10
    assert len(encode(arrays, content, Encoding(deflate=False)).data) == 1 + 400 + 1
    assert bits(decode(encode(arrays, content, Encoding(), constants=arrays).data, content, constants=arrays)) == bits(
        arrays
    )


class TestLinks:
    """What both ends remember, in whole models and in differences."""

    @pytest.mark.parametrize("delta", [False, True])
    def test_constants_cross_once_and_in_one_direction(self, delta: bool) -> None:
        contents = {"weights": replace(CONTENT, mask=None, masked=(), delta=delta)}
        wire = WireFormat(Encoding("sparse", SHIPPED["int4"], deflate=False, delta=delta))
        arrays, server, client = model(1), References(), References()
        sizes = []
        for number in (1, 2, 3):
            down = encode_payload({"weights": arrays}, contents, wire, server, generation=number)
            received = read_payload({"weights": down["weights"].data}, contents, client)
            got = {"weights": received["weights"].arrays}
            server, client = (link.sent(bases_of(received, contents, number)) for link in (server, client))
            trained = [a + (k != "constant") for a, k in zip(got["weights"], KINDS, strict=True)]
            up = encode_payload({"weights": trained}, contents, wire, client)["weights"]
            back = read_payload({"weights": up.data}, contents, server)["weights"].arrays
            assert bits(of_kind(back, "constant")) == bits(of_kind(arrays, "constant"))
            sizes.append((len(down["weights"].data), len(up.data)))
        body = 30 + 2 * 4 + 4 * 9  # 60 values of 4 bits, two scales, nine statistics
        named, difference = 2 + 8 + body, 8 if delta else 0
        first = 30 * 1 + 8 + 4 * 9 + 4 * 13 + 1
        if delta:
            first += 30  # whole weights have 8 bits
        assert sizes == [(first, named + difference)] + [(named + difference, named + difference)] * 2

    def test_what_both_ends_make_from_the_seed_need_not_cross(self) -> None:
        contents = {"weights": replace(CONTENT, mask=None, masked=(), delta=True)}
        wire = WireFormat(Encoding(delta=True, deflate=False))
        start = References(bases={"weights": Base(0, model(1))})
        assert start.fresh
        sent = encode_payload({"weights": model(1)}, contents, wire, start, generation=1)["weights"]
        assert len(sent.data) == 2 + 8 + 8 + 60 + 8 + 36  # differences of 8 bits

    def test_of_a_link_only_constants_are_remembered(self) -> None:
        contents = {"weights": CONTENT, "head": Content((ArraySpec((2,)),))}
        payload = {"weights": model(1), "head": [np.zeros(2, np.float32)]}
        encoded = {name: encode(arrays, contents[name], Encoding()) for name, arrays in payload.items()}
        bases = bases_of(encoded, contents, 4)
        assert bases_of(encoded, contents, 4)["weights"] is bases["weights"]
        assert list(bases) == ["weights"]
        assert bits(bases["weights"].arrays) == bits(of_kind(model(1), "constant"))
        links = {p: References().sent(bases) for p in (0, 1)}
        assert not links[0].fresh
        assert links[0].key == links[1].key != References().key
        tree = to_tree(links)
        assert len(tree["bases"]) == 1
        back = from_tree(tree)
        assert back[0].key == links[0].key
        held = back[1].constants("weights", CONTENT)
        assert held is not None
        assert bits(held) == bits(of_kind(model(1), "constant"))
        assert back[1].constants("head", contents["head"]) is None

    def test_residuals_are_of_what_is_learned(self) -> None:
        contents = {"weights": replace(CONTENT, mask=None, masked=(), delta=True)}
        wire = WireFormat(Encoding("sparse", SHIPPED["ternary"], delta=True, top_k=0.05, feedback=True))
        link = References(bases={"weights": Base(1, model(1))})
        sent = encode_payload({"weights": model(2)}, contents, wire, link)
        residuals = Residuals().after(257, sent)
        assert residuals.now["weights"].shape == (LEARNED,)
        again = encode_payload({"weights": model(1)}, contents, wire, link, residuals=residuals.now)["weights"]
        assert bits(of_kind(again.arrays, "statistic")) == bits(of_kind(model(1), "statistic"))


@pytest.mark.parametrize(
    ("largest", "count"), [([1.0, 65489.0, -2.0], 1), ([65504.0, -7e4, 1e30], 3), ([65488.0, 0.0, -1.0], 0)]
)
def test_float16_says_what_it_cut_off(largest: list[float], count: int) -> None:
    """Beyond half of the last step before 65504, both ends see 65504; int8 and float32 cut nothing off."""
    content = Content((ArraySpec((3,)), ArraySpec((1,), kind="statistic")))
    arrays = [np.array(largest), np.array([2e6])]
    for values in SHIPPED.values():
        sent = encode(arrays, content, Encoding("sparse", values))
        assert read(sent.data, content).saturated == sent.saturated == (count if values == SHIPPED["float16"] else 0)
        assert sent.arrays[1][0] == 2e6


def test_what_crosses_as_a_digest_is_not_cut_off_again() -> None:
    contents = {"generator": Content((ArraySpec((3,)),), kept=True)}
    payload, wire = {"generator": [np.array([1e6, 1.0, 0.0])]}, WireFormat(Encoding(values=SHIPPED["float16"]))
    first = encode_payload(payload, contents, wire, References())["generator"]
    held = References().after({"generator": first.arrays}, contents)
    again = encode_payload(payload, contents, wire, held)["generator"]
    assert (len(again.data), first.saturated, again.saturated) == (9, 1, 0)
    assert read_payload({"generator": again.data}, contents, held)["generator"].saturated == 0

"""Value types as plug-ins: what a header says of them, what is refused, and what a faulty one costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from crossing import BFLOAT16, COARSE, VALUE_TYPES, of_any_type

from fedcompress.errors import InputError, PayloadError
from fedcompress.wire.codec import Encoding, encode, read
from fedcompress.wire.content import ArraySpec, Content
from fedcompress.wire.payload import WireFormat, encode_payload, read_payload
from fedcompress.wire.shipped import SHIPPED
from fedcompress.wire.value_type import Side, Symbols, ValueType
from fedcompress.wire.values.int8 import Int8

THREE = Content((ArraySpec((3,)),))


class Half(ValueType):
    """Numbers at half of their size, as float16; what follows the colon says nothing."""

    name = "half"
    dtype = "<f2"
    argument_name = "ANYTHING"

    def quantise(self, flat: Any, sizes: Any) -> tuple[Symbols, Side]:
        return (flat / 2).astype("<f2") + np.float16(0), ()

    def restore(self, symbols: Symbols, side: Side, sizes: Any) -> Any:
        return symbols.astype(np.float32) * 2


def test_codes_of_what_ships() -> None:
    """They are in every stream that was ever written."""
    codes = {"float32": 0, "float16": 1, "int8": 2, "int4": 3, "ternary": 4, "clustered": 5, "codebooks": 6}
    assert {name: values.code for name, values in SHIPPED.items()} == codes


def test_a_plug_in_travels_by_its_name_golden() -> None:
    """Version 2, code 7; layout all; 8 letters; then 1.0 is 3F80, -2.0 is C000 and 0.5 is 3F00, high bytes first."""
    data = encode([np.array([1.0, -2.0, 0.5])], THREE, Encoding(values=BFLOAT16, deflate=False)).data
    assert data == bytes([0b010_111_00, 0, 8]) + b"bfloat16" + bytes([0x3F, 0xC0, 0x3F, 0x80, 0, 0])


def test_two_bits_golden() -> None:
    """Peak 2, so that -2 is symbol -1 (11), 2 is 1 (01), 0 is 0: the first in the lowest bits. 2.0 is 40000000."""
    data = encode([np.array([-2.0, 2.0, 0.0])], THREE, Encoding(values=COARSE, deflate=False)).data
    assert data == bytes([0b010_111_00, 0, 11]) + b"test.coarse" + bytes([0b00_00_01_11, 0, 0, 0, 0x40])


def test_an_argument_is_part_of_the_name() -> None:
    low, high = Half("low"), Half("high")
    data = encode([np.ones(3)], THREE, Encoding(values=low)).data
    assert b"\x08half:low" in data
    assert low == Half("low") != high
    with pytest.raises(PayloadError, match=r"a value type 'half:low' is not expected; expected half:high\."):
        read(data, Content(THREE.arrays, value_types=(high,)))


def test_a_receiver_without_the_type_says_which_it_lacks() -> None:
    data = encode([np.ones(3)], THREE, Encoding(values=COARSE)).data
    with pytest.raises(PayloadError) as caught:
        read(data, THREE)
    assert str(caught.value) == (
        "content cannot be decoded: a value type 'test.coarse' is not expected; expected float32, float16, int8, int4, "
        "ternary, clustered, codebooks."
    )


@pytest.mark.parametrize("name", ["int8", "float32", "bfloat16\0", "BFLOAT16", "", "x" * 255])
def test_names_that_are_none_of_a_plug_in_are_refused(name: str) -> None:
    data = encode([np.ones(3)], THREE, Encoding(values=BFLOAT16, deflate=False)).data
    forged = data[:2] + bytes([len(name)]) + name.encode() + data[11:]
    with pytest.raises(PayloadError, match=r"a value type .* is not expected"):
        read(forged, of_any_type(THREE))


def test_only_the_types_of_the_format_arrive() -> None:
    """Weights at int8 down and float16 up, whole differences at int4; labels are exact."""
    contents = {
        "weights": Content((ArraySpec((3,)),), delta=True),
        "logits": THREE,
        "labels": Content((ArraySpec((3,), "uint8"),)),
    }
    types = {"values": SHIPPED["float16"], "downlink_values": SHIPPED["int8"], "whole": SHIPPED["int4"]}
    declared = WireFormat(Encoding(**types, delta=True)).declared(contents)
    assert [[str(v) for v in content.value_types or ()] for content in declared.values()] == [
        ["float16", "int8", "int4"],
        ["float16", "int8"],
        ["float32"],
    ]
    sent = encode([np.ones(3)], THREE, Encoding(values=SHIPPED["int4"])).data
    with pytest.raises(PayloadError, match="a value type int4 is not expected; expected float16, int8"):
        read(sent, declared["logits"])


def test_a_number_is_not_inherited() -> None:
    class Mine(Int8):
        name = "mine"

    class Numbered(Half):
        code = 2

    assert Mine().code is None
    assert Numbered().code is None


class Twice(Half):
    """Calls itself as another one does."""


class Named(Half):
    """Has a name for each test."""


@pytest.mark.parametrize("name", ["", "a:b", "ä", "tab\t", "x" * 65])
def test_names_that_a_header_cannot_tell_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Named, "name", name)
    with pytest.raises(InputError, match=r"expected (at most 64 )?printable ASCII characters"):
        WireFormat(Encoding(values=Named()))


def test_two_types_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="wire: two value types call themselves half; a stream tells them by their"):
        WireFormat(Encoding(values=Half()), {"logits": {"values": Twice()}})
    monkeypatch.setattr(Named, "name", "int8")
    with pytest.raises(InputError, match="wire: two value types call themselves int8"):
        WireFormat(Encoding(values=Named()))


def made(**changes: Any) -> ValueType:
    return type("Faulty", (Half,), {"name": "faulty", **changes})()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "<f8"}, "Faulty.dtype is '<f8'; expected one of i1, u1, <i2, <u2, <f2, <i4, <u4, <f4"),
        ({"bits": 3}, "Faulty.bits is 3; expected 1, 2 or 4 for a symbol of one byte, or 0"),
        ({"bits": 4}, "Faulty.bits is 4; expected 1, 2 or 4 for a symbol of one byte, or 0"),
        ({"dtype": "i1"}, "wire: value type faulty: made symbols <f2(6,), expected |i1(6,)"),
        ({"quantise": lambda self, flat, sizes: 1 / 0}, "faulty: fails: ZeroDivisionError: division by zero"),
        (
            {"quantise": lambda self, flat, sizes: flat.astype("<f2")},
            "faulty: fails: TypeError: quantise returned ndarray, expected (symbols, side)",
        ),
        ({"quantise": lambda self, flat, sizes: (flat.astype("<f2"), ())}, "expected symbol 0 for 0 and -0"),
        ({"restore": lambda self, symbols, side, sizes: symbols}, "restored float16(6,), expected float32(6,)"),
        ({"restore": lambda self, symbols, side, sizes: symbols.astype("<f4") + 1}, "and for what is 0"),
        (
            {"restore": lambda self, symbols, side, sizes: symbols.astype("<f4") * np.inf},
            "a value is not finite, of 6",
        ),
        ({"write_side": lambda self, side: b"1"}, "writes 1 byte beside symbols, more than its most_side_bytes"),
        (
            {"write_side": lambda self, side: b"12", "most_side_bytes": lambda self, arrays: 2},
            "it takes 0 of the 2 bytes that it writes beside symbols",
        ),
        ({"write_side": lambda self, side: None}, "value type faulty: fails: TypeError: object of type 'NoneType' has"),
        ({"problems": lambda self: 1 / 0}, "value type faulty: fails: ZeroDivisionError: division by zero"),
        ({"quantise": lambda self, flat, sizes: sys.exit(0)}, "value type faulty: fails: SystemExit: 0"),
        ({"quantise": lambda self, flat, sizes: flat.fill(0)}, "value type faulty: fails: ValueError: assignment dest"),
        ({"check": lambda self, symbols, side: 1 / 0}, "value type faulty: fails: ZeroDivisionError: division by zero"),
        ({"saturated": lambda self, symbols: "none"}, "its saturated returns 'none', expected a number of 0 or more"),
        ({"side_bits": lambda self, side: np.nan}, "its side_bits returns nan, expected a number of 0 or more"),
        ({"with_clusters": lambda self, clusters: None}, "its with_clusters returns None, expected a value type"),
    ],
)
def test_what_does_not_keep_to_the_interface_is_refused_before_the_run(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as caught:
        WireFormat(Encoding(values=made(**changes)))
    assert str(caught.value).startswith("wire: value type faulty: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("method", ["check", "restore", "take_side"])
def test_a_type_that_fails_on_what_it_receives_costs_the_payload(method: str) -> None:
    def fails(*_: Any) -> Any:
        raise IndexError("out of range")

    data = encode([np.ones(3)], THREE, Encoding(values=made())).data
    with pytest.raises(PayloadError, match="value type faulty fails: IndexError: out of range"):
        read(data, Content(THREE.arrays, value_types=(made(**{method: fails}),)))


def test_whatever_array_is_restored_differences_are_added_to_it() -> None:
    """Read-only, and every other element of a longer one."""

    def restore(self: Half, symbols: Symbols, side: Side, sizes: Any) -> Any:
        numbers = np.repeat(symbols.astype(np.float32) * 2, 2)[::2]
        numbers.flags.writeable = False
        return numbers

    values = made(restore=restore)
    content = Content((ArraySpec((2, 2)),), value_types=(values,))
    known = [np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)]
    sent = encode([np.full((2, 2), 5.0)], content, Encoding(values=values), reference=known)
    assert read(sent.data, content, reference=known).arrays[0].tolist() == [[5.0, 5.0], [5.0, 5.0]]
    assert sent.arrays[0].tolist() == [[5.0, 5.0], [5.0, 5.0]]


def test_side_information_counts_in_full_in_the_bound_unless_a_type_knows_better() -> None:
    """Three equal symbols have no entropy: what is left are two bytes beside them."""
    values = made(
        write_side=lambda self, side: b"ab",
        most_side_bytes=lambda self, arrays: 2,
        take_side=lambda self, reader, arrays: (bytes(reader.take(2)),),
    )
    sent = encode([np.ones(3)], THREE, Encoding(values=values, deflate=False))
    assert sent.bound_bytes == read(sent.data, Content(THREE.arrays, value_types=(values,))).bound_bytes == 2
    assert len(sent.data) == 3 + len("faulty") + 6 + 2


@pytest.mark.parametrize("values", VALUE_TYPES, ids=str)
@pytest.mark.parametrize("settings", [{}, {"delta": True}, {"delta": True, "top_k": 0.1, "feedback": True}])
def test_every_type_crosses_a_link(values: ValueType, settings: dict[str, Any]) -> None:
    """Down and up as a strategy sends them, sparse and entropy coded."""
    settings = settings if settings.get("top_k") or not values.few else {"delta": True, "top_k": 0.1}
    wire = WireFormat(Encoding("sparse", values, entropy=True, **settings))
    contents = wire.declared({"weights": Content((ArraySpec((40, 50)),), delta=True)})
    rng = np.random.default_rng(0)
    for generation in (None, 1):
        sent = encode_payload({"weights": [rng.standard_normal((40, 50))]}, contents, wire, generation=generation)
        received = read_payload({name: item.data for name, item in sent.items()}, contents)["weights"]
        assert np.array_equal(received.arrays[0], sent["weights"].arrays[0])
        assert received.bound_bytes == sent["weights"].bound_bytes


def largest_error(values: ValueType, draw: Callable[[], Any]) -> float:
    numbers = draw()
    return float(np.abs(encode([numbers], THREE, Encoding(values=values)).arrays[0] - numbers).max())


def test_the_example_of_the_interface_is_bfloat16() -> None:
    """8 significant bits: numbers from 1 to 2 are multiples of 2^-7, so that rounding is off by 2^-8 at most."""
    rng = np.random.default_rng(0)
    assert max(largest_error(BFLOAT16, lambda: rng.uniform(1, 2, 3)) for _ in range(50)) <= 2.0**-8

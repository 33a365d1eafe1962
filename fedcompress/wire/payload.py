"""Payloads: named contents, encoded together so that a mask goes before what it masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import InputError, PayloadError, suggestion
from fedcompress.wire import codec, support
from fedcompress.wire.codec import Encoded, Encoding
from fedcompress.wire.content import Arrays, Content, Payload
from fedcompress.wire.vector import joined, split

Contents = Mapping[str, Content]

SAME = b"\xff"
"""First byte of a kept content that the receiver holds; no stream begins with it (its format version would be 7)."""


@dataclass(frozen=True)
class WireFormat:
    """The `[wire]` section of a scenario, resolved.

    Attributes:
        default: For every content.
        per_content: Fields of `Encoding` that differ, by content name: `{"logits": {"values": "int8"}}`.
    """

    default: Encoding = field(default_factory=Encoding)
    per_content: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [f.name for f in fields(Encoding)]
        for name, settings in self.per_content.items():
            for key in settings:
                if key not in known:
                    raise InputError(f"The wire format of {name} has the key {key!r}.{suggestion(key, known)}")
            replace(self.default, **settings)  # refuses wrong settings now, not in a round

    def encoding(self, name: str, content: Content) -> Encoding:
        """Returns the encoding of a content: a lossless one is float32 unless its own settings say otherwise."""
        encoding = replace(self.default, values="float32") if content.lossless else self.default
        return replace(encoding, **self.per_content.get(name, {}))


@dataclass(frozen=True, eq=False)
class References:
    """What both ends of a link hold: masks, of which only what changes has to travel, and contents that are kept.

    Never changed in place: an end goes on with `after(...)` once it knows that a payload has arrived, and with what it
    has if it was lost. Where the ends may differ, the sender asks for the other's digests and uses `common(...)`.

    Attributes:
        held: Content name -> the last one exchanged: bits of all its arrays for a mask, as `np.packbits` makes them,
            their bytes for any other.
    """

    held: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

    def after(self, payload: Payload, contents: Contents) -> References:
        """Returns the references once a payload has been exchanged, in either direction."""
        new = {name: np.packbits(joined(payload[name], np.bool_)) for name, c in contents.items() if c.is_mask}
        kept = {name: _bytes(payload[name]) for name, content in contents.items() if content.kept}
        return References({**self.held, **new, **kept})

    def arrays(self, name: str, content: Content) -> Arrays | None:
        """Returns a content as declared; None if none is held, or only one for other arrays."""
        if name not in self.held or any(spec.free for spec in content.arrays):
            return None
        held, size = self.held[name], sum(spec.most for spec in content.arrays)
        if content.is_mask:
            if len(held) != (size + 7) // 8:
                return None
            return split(np.unpackbits(held, count=size).view(np.bool_), [spec.sized(0) for spec in content.arrays])
        lengths = [spec.most * np.dtype(spec.dtype).itemsize for spec in content.arrays]
        if not content.kept or len(held) != sum(lengths):
            return None
        pieces = np.split(held, np.cumsum(lengths)[:-1])
        return [
            np.frombuffer(piece.tobytes(), spec.dtype).reshape(spec.sized(0)).copy()
            for piece, spec in zip(pieces, content.arrays, strict=True)
        ]

    def digest(self, name: str) -> bytes:
        """Returns 8 bytes by which the ends recognise that they hold the same."""
        return support.digest(self.held[name])

    def common(self, digests: Mapping[str, bytes]) -> References:
        """Returns those that the other end holds as well, given its digests."""
        return References({name: held for name, held in self.held.items() if self.digest(name) == digests.get(name)})

    def to_arrays(self) -> dict[str, NDArray[np.uint8]]:
        """Returns what a checkpoint has to hold."""
        return dict(self.held)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.uint8]]) -> References:
        """Undoes `to_arrays`.

        Raises:
            PayloadError: An array does not hold bytes.
        """
        for name, held in arrays.items():
            if held.dtype != np.uint8 or held.ndim != 1:
                raise PayloadError(f"The reference of {name} is {held.dtype} {held.shape}, expected packed bits.")
        return cls(dict(arrays))

    def shorten(self, encoded: Encoded, name: str, content: Content) -> Encoded:
        """Returns a kept content as its digest if the receiver holds the same one, and as it is otherwise."""
        same = content.kept and name in self.held and np.array_equal(self.held[name], _bytes(encoded.arrays))
        return replace(encoded, data=SAME + self.digest(name), bound_bits=_nothing) if same else encoded

    def recall(self, data: bytes, name: str, content: Content) -> Encoded | None:
        """Returns what `shorten` stood in for; None if the data is not of that kind.

        Raises:
            PayloadError: It is, but something else is held, or nothing.
        """
        if not content.kept or bytes(data[:1]) != SAME:
            return None
        arrays = self.arrays(name, content)
        if arrays is None or bytes(data[1:]) != self.digest(name):
            held = "nothing is held" if arrays is None else f"the one held is {self.digest(name).hex()}"
            raise PayloadError(f"{name} cannot be decoded: it refers to {bytes(data[1:]).hex()}, but {held}.")
        return Encoded(bytes(data), arrays, sum(array.nbytes for array in arrays), _nothing)


def _nothing() -> float:
    return 0.0


def _bytes(arrays: Arrays) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays), np.uint8)


def encode_payload(
    payload: Payload, contents: Contents, wire: WireFormat, references: References | None = None
) -> dict[str, Encoded]:
    """Encodes a payload.

    Args:
        payload: Arrays of every declared content.
        contents: Their declarations.
        wire: How each becomes bytes.
        references: What the receiver holds too; None for nothing.

    Returns:
        One `Encoded` per content, in the order of `contents`. Both ends go on with the arrays in it.

    Raises:
        PayloadError: The payload is not what is declared.
    """
    references = references or References()
    encoded: dict[str, Encoded] = {}
    for name, content in _masks_first(payload, contents):
        whole = codec.encode(
            payload[name],
            content,
            wire.encoding(name, content),
            mask=encoded[content.mask].arrays if content.mask else None,
            reference=references.arrays(name, content) if content.is_mask else None,
            name=name,
        )
        encoded[name] = references.shorten(whole, name, content)
    return {name: encoded[name] for name in contents}


def decode_payload(
    blobs: Mapping[str, bytes], contents: Contents, references: References | None = None
) -> dict[str, Arrays]:
    """Decodes a payload; nothing of it is returned unless all of it is as declared.

    Args:
        blobs: What was received, by content.
        contents: What this end expects.
        references: What it holds from earlier payloads; None for nothing.

    Raises:
        PayloadError: A content is missing, not declared, or does not decode.
    """
    references = references or References()
    arrays: dict[str, Arrays] = {}
    for name, content in _masks_first(blobs, contents):
        mask = arrays[content.mask] if content.mask else None
        if same := references.recall(blobs[name], name, content):
            arrays[name] = same.arrays
            continue
        known = references.arrays(name, content) if content.is_mask else None
        arrays[name] = codec.decode(blobs[name], content, mask=mask, reference=known, name=name)
    return {name: arrays[name] for name in contents}


def read_payload(
    blobs: Mapping[str, bytes], contents: Contents, references: References | None = None
) -> dict[str, Encoded]:
    """Decodes and measures a payload: what the sender's `encode_payload` returned. Otherwise as `decode_payload`."""
    references = references or References()
    encoded: dict[str, Encoded] = {}
    for name, content in _masks_first(blobs, contents):
        mask = encoded[content.mask].arrays if content.mask else None
        if same := references.recall(blobs[name], name, content):
            encoded[name] = same
            continue
        known = references.arrays(name, content) if content.is_mask else None
        encoded[name] = codec.read(blobs[name], content, mask=mask, reference=known, name=name)
    return {name: encoded[name] for name in contents}


def _masks_first(received: Mapping[str, Any], contents: Contents) -> Iterable[tuple[str, Content]]:
    """Checks the names; returns the declared contents, those without a mask first."""
    problems = [f"{name} is not declared" for name in received if name not in contents]
    problems += [f"{name} is missing" for name in contents if name not in received]
    problems += [
        f"the mask of {name}, {content.mask}, is not declared as a mask"
        for name, content in contents.items()
        if content.mask and not (content.mask in contents and contents[content.mask].is_mask)
    ]
    if problems:
        expected, got = (", ".join(names) or "nothing" for names in (contents, received))
        raise PayloadError(f"In a payload {'; '.join(problems)}. Expected {expected}; received {got}.")
    return sorted(contents.items(), key=lambda item: item[1].mask is not None)


def present(names: Iterable[str], contents: Contents) -> dict[str, Content]:
    """Returns the declarations of what a payload holds; a content whose mask is not with it travels unmasked.

    Raises:
        PayloadError: A name is not declared.
    """
    held = set(names)
    if unknown := sorted(held - contents.keys()):
        raise PayloadError(f"{', '.join(unknown)} is not declared; known are {', '.join(contents) or 'none'}.")
    return {
        name: content if content.mask in held else replace(content, mask=None, masked=())
        for name, content in contents.items()
        if name in held
    }

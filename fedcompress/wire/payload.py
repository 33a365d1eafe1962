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
    """The masks that both ends of a link hold, so that only what changes in them has to travel.

    Never changed in place: an end goes on with `after(...)` once it knows that a payload has arrived, and with what it
    has if it was lost. Where the ends may differ, the sender asks for the other's digests and uses `common(...)`.

    Attributes:
        masks: Content name -> bits of all arrays of the last mask exchanged, as `np.packbits` makes them.
    """

    masks: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

    def after(self, payload: Payload, contents: Contents) -> References:
        """Returns the references once a payload has been exchanged, in either direction."""
        new = {name: np.packbits(joined(payload[name], np.bool_)) for name, c in contents.items() if c.is_mask}
        return References({**self.masks, **new})

    def arrays(self, name: str, content: Content) -> Arrays | None:
        """Returns a mask as declared; None if none is held, or only one for other arrays."""
        if name not in self.masks or any(spec.free for spec in content.arrays):
            return None
        packed, size = self.masks[name], sum(spec.most for spec in content.arrays)
        if len(packed) != (size + 7) // 8:
            return None
        return split(np.unpackbits(packed, count=size).view(np.bool_), [spec.sized(0) for spec in content.arrays])

    def digest(self, name: str) -> bytes:
        """Returns 8 bytes by which the ends recognise that they hold the same mask."""
        return support.digest(self.masks[name])

    def common(self, digests: Mapping[str, bytes]) -> References:
        """Returns those that the other end holds as well, given its digests."""
        return References({name: mask for name, mask in self.masks.items() if self.digest(name) == digests.get(name)})

    def to_arrays(self) -> dict[str, NDArray[np.uint8]]:
        """Returns what a checkpoint has to hold."""
        return dict(self.masks)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.uint8]]) -> References:
        """Undoes `to_arrays`.

        Raises:
            PayloadError: An array does not hold packed bits.
        """
        for name, packed in arrays.items():
            if packed.dtype != np.uint8 or packed.ndim != 1:
                raise PayloadError(f"The reference of {name} is {packed.dtype} {packed.shape}, expected packed bits.")
        return cls(dict(arrays))


def encode_payload(
    payload: Payload, contents: Contents, wire: WireFormat, references: References | None = None
) -> dict[str, Encoded]:
    """Encodes a payload.

    Args:
        payload: Arrays of every declared content.
        contents: Their declarations.
        wire: How each becomes bytes.
        references: Masks that the receiver holds too; None for none.

    Returns:
        One `Encoded` per content, in the order of `contents`. Both ends go on with the arrays in it.

    Raises:
        PayloadError: The payload is not what is declared.
    """
    references = references or References()
    encoded: dict[str, Encoded] = {}
    for name, content in _masks_first(payload, contents):
        encoded[name] = codec.encode(
            payload[name],
            content,
            wire.encoding(name, content),
            mask=encoded[content.mask].arrays if content.mask else None,
            reference=references.arrays(name, content),
            name=name,
        )
    return {name: encoded[name] for name in contents}


def decode_payload(
    blobs: Mapping[str, bytes], contents: Contents, references: References | None = None
) -> dict[str, Arrays]:
    """Decodes a payload; nothing of it is returned unless all of it is as declared.

    Args:
        blobs: What was received, by content.
        contents: What this end expects.
        references: Masks that it holds from earlier payloads; None for none.

    Raises:
        PayloadError: A content is missing, not declared, or does not decode.
    """
    references = references or References()
    arrays: dict[str, Arrays] = {}
    for name, content in _masks_first(blobs, contents):
        mask = arrays[content.mask] if content.mask else None
        known = references.arrays(name, content)
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
        known = references.arrays(name, content)
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

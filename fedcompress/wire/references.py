"""What the two ends of a link remember, so that only what is new has to cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire import support, tensors
from fedcompress.wire.codec import Encoded
from fedcompress.wire.content import Arrays, Content, Payload
from fedcompress.wire.vector import joined, split

if TYPE_CHECKING:
    from flwr.app import ArrayRecord

Contents = Mapping[str, Content]

SAME = b"\xff"
"""First byte of a kept content that the receiver holds; no stream begins with it (its format version would be 7)."""


@dataclass(frozen=True, eq=False)
class Base:
    """What both ends hold of a content as the receiver decoded it, so that less of the next one has to be sent.

    Attributes:
        generation: Number of the round in which the server sent it; 0 for what both ends make from the seed.
        arrays: All of a content whose differences cross; the constant arrays of any other. Many links share them: never
            changed in place.
        known_digest: `digest`, where it is known already.
    """

    generation: int
    arrays: Arrays
    known_digest: bytes | None = None

    @cached_property
    def digest(self) -> bytes:
        """8 bytes by which the ends recognise that they hold the same."""
        return self.known_digest or tensors.digest(self.arrays)

    @cached_property
    def record(self) -> ArrayRecord:
        """The arrays as clients keep them: one record for all who do."""
        from fedcompress.wire.keeping import Shelf

        return Shelf().record(self.arrays)


@dataclass(frozen=True, eq=False)
class References:
    """What both ends of a link hold: masks, of which only what changes has to travel, and contents that are kept.

    Never changed in place: an end goes on with `after(...)` once it knows that a payload has arrived, and with what it
    has if it was lost. Where the ends may differ, the sender asks for the other's digests and uses `common(...)`.

    Attributes:
        held: Content name -> the last one exchanged: bits of all its arrays for a mask, as `np.packbits` makes them,
            their bytes for any other.
        bases: Content name -> the last that the server sent, of contents whose differences cross, or with constants.
        accepted: Number of the last exchange whose reply the server took; 0 for none.
    """

    held: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    bases: Mapping[str, Base] = field(default_factory=dict)
    accepted: int = 0

    @property
    def fresh(self) -> bool:
        """Whether nothing has been exchanged."""
        return not self.held and all(base.generation == 0 for base in self.bases.values())

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for links that a payload crosses as the same bytes."""
        bases = tuple((name, base.generation, base.digest) for name, base in sorted(self.bases.items()))
        return bases, tuple(self.digest(name) for name in sorted(self.held))

    def reference(self, name: str, content: Content) -> Arrays | None:
        """Returns what the next content of this name is coded relative to; None for nothing."""
        if not content.delta:
            return self.arrays(name, content) if content.is_mask else None
        return self.bases[name].arrays if name in self.bases else None

    def constants(self, name: str, content: Content) -> Arrays | None:
        """Returns the constant arrays of a content that both ends hold; None for nothing."""
        if name not in self.bases or not content.constants:
            return None
        arrays = self.bases[name].arrays
        return [arrays[i] for i in content.constants] if content.delta else arrays

    def sent(self, bases: Mapping[str, Base]) -> References:
        """Returns the references once the server has sent these."""
        return replace(self, bases={**self.bases, **bases})

    def after(self, payload: Payload, contents: Contents) -> References:
        """Returns the references once a payload has been exchanged, in either direction; bases: see `sent`."""
        new = {name: np.packbits(joined(payload[name], np.bool_)) for name, c in contents.items() if c.is_mask}
        digests = {name: _bytes(payload[name]) for name, content in contents.items() if content.kept}
        return replace(self, held={**self.held, **new, **digests})

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

    def shorten(self, encoded: Encoded, name: str, content: Content) -> Encoded:
        """Returns a kept content as its digest if the receiver holds the same one, and as it is otherwise."""
        same = content.kept and name in self.held and np.array_equal(self.held[name], _bytes(encoded.arrays))
        if not same:
            return encoded
        return replace(encoded, data=SAME + self.digest(name), bound_bits=_nothing, saturated=0)

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


def bases_of(encoded: Mapping[str, Encoded], contents: Contents, generation: int) -> dict[str, Base]:
    """Returns what a payload from the server leaves both ends with: to send differences to, and constants."""
    lasting = {name: range(len(c.arrays)) if c.delta else c.constants for name, c in contents.items()}
    return {name: _base(encoded[name], positions, generation) for name, positions in lasting.items() if positions}


def _base(item: Encoded, positions: Sequence[int], generation: int) -> Base:
    """Returns what a content leaves; the same for all links in this process that it crosses."""
    if generation not in item.made:
        item.made[generation] = Base(generation, [item.arrays[i].copy() for i in positions])
    base: Base = item.made[generation]
    return base


def to_tree(links: Mapping[int, References]) -> dict[str, Any]:
    """Returns what a checkpoint has to hold of the server's links; what many share is in it once."""
    bases: dict[str, Base] = {}
    clients: dict[str, Any] = {}
    for partition, link in links.items():
        named = {name: f"{base.generation}-{base.digest.hex()}" for name, base in link.bases.items()}
        bases |= {named[name]: base for name, base in link.bases.items()}
        clients[str(partition)] = {"held": dict(link.held), "bases": named, "accepted": link.accepted}
    shared = {key: {"generation": base.generation, "arrays": base.arrays} for key, base in bases.items()}
    return {"clients": clients, "bases": shared}


def from_tree(tree: Mapping[str, Any]) -> dict[int, References]:
    """Undoes `to_tree`.

    Raises:
        PayloadError: What is held are not bytes.
    """
    for link in tree["clients"].values():
        for name, held in link["held"].items():
            if held.dtype != np.uint8 or held.ndim != 1:
                raise PayloadError(f"The reference of {name} is {held.dtype} {held.shape}, expected packed bits.")
    bases = {key: Base(base["generation"], list(base["arrays"])) for key, base in tree["bases"].items()}
    return {
        int(partition): References(
            link["held"], {name: bases[key] for name, key in link["bases"].items()}, link["accepted"]
        )
        for partition, link in tree["clients"].items()
    }

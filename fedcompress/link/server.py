"""The server's end of an exchange."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fedcompress.errors import PayloadError
from fedcompress.experiment import Experiment
from fedcompress.groups import ClientInfo
from fedcompress.link.spool import Spool
from fedcompress.plausibility import parts, root_mean_square
from fedcompress.wire.codec import Encoded
from fedcompress.wire.content import Arrays, Content, Payload
from fedcompress.wire.payload import encode_payload, present, read_payload
from fedcompress.wire.references import Contents, References, bases_of

ENCODED_LIMIT = 256 * 2**20
"""Bytes of a call's encoded requests that stay in memory."""


@dataclass(frozen=True, eq=False)
class Sent:
    """A request's contents as they cross the network; clients that hold the same are sent the same.

    Attributes:
        contents: Declarations of what it holds.
        encodings: Its contents, measured.
        decoded: What the client receives.
        meant: What was to be sent, of contents with error feedback.
        references: What both ends hold once it has arrived.
        request: What a strategy is told that the client received, in little memory.
    """

    contents: Contents
    encodings: Mapping[str, Encoded]
    decoded: Payload
    meant: Payload
    references: References
    request: Payload

    @property
    def blobs(self) -> dict[str, bytes]:
        """Content name -> its bytes."""
        return {name: item.data for name, item in self.encodings.items()}

    @property
    def size(self) -> int:
        """Bytes in memory, roughly: encoded and decoded."""
        return sum(len(item.data) + sum(a.nbytes for a in item.arrays) for item in self.encodings.values())

    @cached_property
    def parts(self) -> dict[str, Arrays]:
        """What of it the client's changes are measured against, part by part."""
        return parts(self.decoded, self.contents)

    @cached_property
    def sizes(self) -> dict[str, float]:
        """Root mean square of each part that holds real numbers."""
        measured = {name: root_mean_square(arrays) for name, arrays in self.parts.items()}
        return {name: size for name, size in measured.items() if size is not None}

    def as_meant(self, name: str, content: Content, payload: Mapping[str, Arrays]) -> Arrays:
        """Returns a content of the reply as if the client had begun with what it was meant to receive.

        What the request left out stays in the server's state that way, and is in the next difference: this is the error
        feedback of the downlink, and needs no memory of its own.

        Raises:
            PayloadError: The result is not finite.
        """
        arrays = payload[name]
        if name not in self.meant:
            return arrays
        masks = dict(zip(content.masked, payload[content.mask] if content.mask else [], strict=True))
        moved = []
        for i, (array, meant, decoded) in enumerate(zip(arrays, self.meant[name], self.decoded[name], strict=True)):
            if content.arrays[i].lossy:
                with np.errstate(over="ignore"):
                    shift = meant - decoded
                    shift = np.where(masks[i], shift, np.float32(0)) if i in masks else shift
                    shift += array
                array = shift
                if not np.isfinite(array).all():
                    raise PayloadError(f"{name}[{i}] is not finite once added to what the client was sent")
            moved.append(array)
        return moved


@dataclass(frozen=True, eq=False)
class Received:
    """An answer's contents.

    Attributes:
        encodings: Measured.
        parts: What of them changes are measured on, part by part.
        payload: Decoded; with error feedback what the server meant to send plus the client's change.
        references: What both ends hold once the server has taken it.
    """

    encodings: Mapping[str, Encoded]
    parts: Mapping[str, Arrays]
    payload: Payload
    references: References


class Outbox:
    """What a call has encoded so far: the same arrays for many clients are encoded once, as long as there is room.

    Args:
        spool: Of the call.
        limit: Bytes that may be in memory; beyond it the oldest goes, and is encoded again for another client.
    """

    def __init__(self, spool: Spool, limit: int = ENCODED_LIMIT) -> None:
        self.spool = spool
        self._free = limit
        self._sent: dict[Any, tuple[Payload, Sent]] = {}
        """With payloads, since their arrays are told apart by their `id`."""

    def get(self, key: Any, payload: Payload, encode: Callable[[], Sent]) -> Sent:
        """Returns what was encoded under a key, and encodes it if it is not there."""
        if key not in self._sent:
            sent = encode()
            self._free -= sent.size
            while self._free < 0 and self._sent:
                self._free += self._sent.pop(next(iter(self._sent)))[1].size
            self._sent[key] = payload, sent
        return self._sent[key][1]


class ServerEnd:
    """The server's end of the links to all clients.

    Attributes:
        references: Partition -> what both ends hold; absent before the first exchange, and after one that came to
            nothing but for the number of the last that did not.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.references: dict[int, References] = {}
        self._experiment = experiment
        self._contents = {name: experiment.contents(group) for name, group in experiment.groups.items()}
        self._numbered = any(group.client.shared_state for group in experiment.groups.values()) or any(
            experiment.wire.encoding(name, content).feedback
            for contents in self._contents.values()
            for name, content in contents.items()
        )

    def encode(self, client: ClientInfo, payload: Payload, round_number: int, outbox: Outbox) -> Sent:
        """Encodes what a client is sent.

        Args:
            client: Who is sent it.
            payload: Contents.
            round_number: Number of the round.
            outbox: What this call has encoded so far.

        Raises:
            PayloadError: The contents are not what is declared.
        """
        references = self._held(client)
        key = (client.model, references.key, *((name, id(arrays)) for name, arrays in payload.items()))

        def encoded() -> Sent:
            return self._encoded(client, payload, round_number, references, outbox.spool)

        return outbox.get(key, payload, encoded)

    def _encoded(
        self, client: ClientInfo, payload: Payload, round_number: int, references: References, spool: Spool
    ) -> Sent:
        contents, wire = present(payload, self._contents[client.group]), self._experiment.wire
        encoded = encode_payload(payload, contents, wire, references, generation=round_number)
        decoded = {name: item.arrays for name, item in encoded.items()}
        meant = {
            name: content.accept(list(payload[name]), name)
            for name, content in contents.items()
            if content.delta and wire.encoding(name, content).feedback
        }
        arrived = references.after(decoded, contents).sent(bases_of(encoded, contents, round_number))
        return Sent(contents, encoded, decoded, meant, arrived, spool.put({**decoded, **meant}))

    def decoded(
        self, name: str, arrays: Arrays, round_number: int, group: str | None = None, masks: Arrays | None = None
    ) -> Arrays:
        """Returns a content as its receivers decode it, under the wire format of this run and sent whole.

        Args:
            name: Of the content.
            arrays: Of the content.
            round_number: Number of the round.
            group: Whose clients receive it; None for a content that is the same for all.
            masks: That go along, where the content has a mask.
        """
        declared = (contents for key, contents in self._contents.items() if name in contents and group in (None, key))
        contents = next(declared)
        payload = {name: arrays} | ({str(contents[name].mask): list(masks)} if masks and contents[name].mask else {})
        encoded = encode_payload(payload, present(payload, contents), self._experiment.wire, generation=round_number)
        return encoded[name].arrays

    def remembered(self, client: ClientInfo, exchange: int) -> dict[str, Any]:
        """Returns what a request says of earlier exchanges, as fields of `Request`.

        Args:
            client: Who is sent it.
            exchange: Number of the new exchange.
        """
        references = self._held(client)
        numbers = {"exchange": exchange, "accepted": references.accepted} if self._numbered else {}
        return {**numbers, "fresh": references.fresh}

    def declared(self, client: ClientInfo, blobs: Mapping[str, bytes]) -> dict[str, bytes]:
        """Returns those of a client's contents that have a name of ours."""
        return {name: data for name, data in blobs.items() if name in self._contents[client.group]}

    def read(
        self,
        client: ClientInfo,
        sent: Sent,
        blobs: Mapping[str, bytes],
        expects: Collection[str],
        known: Mapping[str, Encoded] | None = None,
    ) -> Received:
        """Decodes and measures an answer; nothing is remembered of it before `take`.

        Args:
            client: Who has sent it.
            sent: What the client had been sent.
            blobs: Content name -> bytes.
            expects: Contents that have to be among them.
            known: What the bytes were encoded from, as far as that was in this process.

        Raises:
            PayloadError: Contents are missing or not what is declared, or do not decode.
        """
        contents = present(blobs, self._contents[client.group])
        if missing := sorted(set(expects) - blobs.keys()):
            raise PayloadError(f"the reply lacks {', '.join(missing)}; received {', '.join(blobs) or 'nothing'}")
        encodings = read_payload(blobs, contents, sent.references, known)
        decoded = {name: item.arrays for name, item in encodings.items()}
        payload = {name: sent.as_meant(name, contents[name], decoded) for name in decoded}
        compared = parts(decoded, self._contents[client.group])
        return Received(encodings, compared, payload, sent.references.after(decoded, contents))

    def take(self, client: ClientInfo, references: References, exchange: int) -> None:
        """Goes on from an exchange whose reply is good.

        Args:
            client: Who has answered.
            references: Of the answer.
            exchange: Number of the exchange.
        """
        self.references[client.partition] = replace(references, accepted=exchange)

    def give_up(self, client: ClientInfo) -> None:
        """Forgets what a client held, after an exchange that came to nothing: the next one is self-contained."""
        references = self.references.pop(client.partition, None)
        if references is not None and references.accepted:
            self.references[client.partition] = References(accepted=references.accepted)

    def _held(self, client: ClientInfo) -> References:
        references = self.references.get(client.partition)
        if references is None or references.fresh:
            start = self._experiment.start(self._experiment.groups[client.group])
            return replace(start, accepted=references.accepted if references else 0)
        return references

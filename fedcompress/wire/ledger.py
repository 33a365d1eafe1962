"""The ledger: what crossed the network, content by content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from fedcompress.wire.codec import Encoded

Direction = Literal["uplink", "downlink"]

ENVELOPE: Final = "envelope"
"""Stands in the place of a content's name for the rest of a message, so that the rows sum to the whole of it."""


@dataclass(frozen=True)
class Transfer:
    """One content of one message; a row of `ledger.jsonl`.

    Attributes:
        round: Number of the round.
        action: Client action that the message asks for or answers.
        direction: "uplink" from client to server, "downlink" to the client.
        client: The client's partition.
        content: Name of the content, or `ENVELOPE`.
        wire_bytes: Length of what was sent.
        dense_bytes: The same as dense float32 (see `Encoded`).
        bound_bytes: Entropy of what the receiver did not know (see `Encoded`).
    """

    round: int
    action: str
    direction: Direction
    client: int
    content: str
    wire_bytes: int
    dense_bytes: int
    bound_bytes: int


def transfers(
    round_number: int,
    action: str,
    direction: Direction,
    client: int,
    contents: Mapping[str, Encoded | bytes],
    message_bytes: int,
) -> list[Transfer]:
    """Returns the rows of one message: one per content, and the envelope.

    Args:
        round_number: Number of the round.
        action: The client action.
        direction: "uplink" or "downlink".
        client: The client's partition.
        contents: What was sent, measured; plain bytes for what did not decode, which is counted all the same.
        message_bytes: Size of the whole message (`fedcompress.wire.records.message_bytes`).
    """
    rows = []
    for name, sent in contents.items():
        data, dense, bound = (
            (sent, 0, 0) if isinstance(sent, bytes) else (sent.data, sent.dense_bytes, sent.bound_bytes)
        )
        rows.append(Transfer(round_number, action, direction, client, name, len(data), dense, bound))
    rest = message_bytes - sum(row.wire_bytes for row in rows)
    if rest < 0:
        raise ValueError(f"A message of {message_bytes} bytes cannot hold contents of {message_bytes - rest}.")
    return [*rows, Transfer(round_number, action, direction, client, ENVELOPE, rest, 0, 0)]


@dataclass
class Totals:
    """Running sums over transfers, in bytes.

    Attributes:
        uplink: Wire bytes from clients to the server.
        downlink: Wire bytes from the server to clients.
        dense_uplink: The same as dense float32.
        dense_downlink: The same as dense float32.
        by_content: Wire bytes by direction and content.
    """

    uplink: int = 0
    downlink: int = 0
    dense_uplink: int = 0
    dense_downlink: int = 0
    by_content: dict[Direction, dict[str, int]] = field(default_factory=lambda: {"uplink": {}, "downlink": {}})

    def add(self, transfer: Transfer) -> None:
        """Counts one transfer."""
        if transfer.direction == "uplink":
            self.uplink += transfer.wire_bytes
            self.dense_uplink += transfer.dense_bytes
        else:
            self.downlink += transfer.wire_bytes
            self.dense_downlink += transfer.dense_bytes
        sums = self.by_content[transfer.direction]
        sums[transfer.content] = sums.get(transfer.content, 0) + transfer.wire_bytes

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Totals:
        """Undoes `to_dict`."""
        by_content: dict[Direction, dict[str, int]] = {
            "uplink": dict(values["by_content"]["uplink"]),
            "downlink": dict(values["by_content"]["downlink"]),
        }
        return cls(**{**values, "by_content": by_content})

"""The ledger: rows sum to messages, totals to rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fedcompress.wire.codec import Encoding
from fedcompress.wire.ledger import ENVELOPE, Totals, Transfer, transfers
from fedcompress.wire.payload import WireFormat, encode_payload

if TYPE_CHECKING:
    from conftest import Model


def test_rows_sum_to_the_message(model: Model) -> None:
    encoded = encode_payload(
        {"weights": model.weights, "mask": model.mask}, model.contents, WireFormat(Encoding("sparse"))
    )
    rows = transfers(3, "train", "uplink", 7, encoded, 5000)
    assert [row.content for row in rows] == ["weights", "mask", ENVELOPE]
    assert sum(row.wire_bytes for row in rows) == 5000
    assert {(row.round, row.action, row.direction, row.client) for row in rows} == {(3, "train", "uplink", 7)}
    weights = rows[0]
    assert weights.wire_bytes == len(encoded["weights"].data)
    assert weights.dense_bytes == 24_552
    assert weights.bound_bytes == encoded["weights"].bound_bytes
    assert rows[2].dense_bytes == rows[2].bound_bytes == 0


def test_what_does_not_decode_is_counted_all_the_same() -> None:
    rows = transfers(1, "train", "uplink", 0, {"weights": b"nonsense"}, 100)
    assert [(r.content, r.wire_bytes, r.dense_bytes) for r in rows] == [("weights", 8, 0), (ENVELOPE, 92, 0)]


def test_a_message_cannot_be_smaller_than_its_contents() -> None:
    with pytest.raises(ValueError, match="message of 7 bytes cannot hold contents of 8"):
        transfers(1, "train", "uplink", 0, {"weights": b"nonsense"}, 7)


def test_totals_golden() -> None:
    totals = Totals()
    for row in (
        Transfer(1, "train", "downlink", 0, "weights", 100, 400, 90),
        Transfer(1, "train", "downlink", 1, "weights", 100, 400, 90),
        Transfer(1, "train", "uplink", 0, "weights", 50, 400, 40),
        Transfer(1, "train", "uplink", 0, "mask", 10, 0, 0),
        Transfer(1, "train", "uplink", 0, ENVELOPE, 5, 0, 0),
    ):
        totals.add(row)
    expected = {
        "uplink": 65,
        "downlink": 200,
        "dense_uplink": 400,
        "dense_downlink": 800,
        "by_content": {"uplink": {"weights": 50, "mask": 10, ENVELOPE: 5}, "downlink": {"weights": 200}},
    }
    assert totals.to_dict() == expected
    restored = Totals.from_dict(json.loads(json.dumps(totals.to_dict())))
    assert restored == totals
    restored.add(Transfer(2, "train", "uplink", 0, "mask", 1, 0, 0))
    assert totals.to_dict() == expected

"""The server's end of links: what is encoded once, and what it goes on from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcompress.errors import PayloadError
from fedcompress.link.server import Outbox, Sent, ServerEnd
from fedcompress.link.spool import Spool
from fedcompress.strategy import Payload
from federating import experiment

DIGITS = {"data": {"dataset": "digits", "clients": 3}}


@pytest.fixture
def end() -> ServerEnd:
    return ServerEnd(experiment(DIGITS, wire__delta=True))


def weights(made: Any, value: float) -> list[np.ndarray]:
    return [np.full(a.shape, value, np.float32) for a in made.models["mini-cnn"].template]


def test_the_same_arrays_for_clients_that_hold_the_same_are_encoded_once(end: ServerEnd) -> None:
    made = experiment(DIGITS)
    first, second, third = made.clients
    outbox, payload = Outbox(Spool()), {"weights": weights(made, 0.5)}
    sent = end.encode(first, payload, 1, outbox)
    assert end.encode(second, payload, 1, outbox) is sent
    end.take(third, end.encode(third, {"weights": weights(made, 0.1)}, 1, outbox).references, exchange=257)
    assert end.encode(third, payload, 2, outbox) is not sent


def test_beyond_its_limit_an_outbox_forgets_the_oldest() -> None:
    """Room for two of size 12, 4 bytes encoded and 8 decoded; the third makes room for itself."""
    outbox = Outbox(Spool(), limit=24)
    encoded: list[str] = []

    def get(key: str) -> None:
        outbox.get(key, {}, lambda: encoded.append(key) or sized())  # type: ignore[func-returns-value]

    for key in ("a", "b", "a", "b", "c", "b", "a"):
        get(key)
    assert encoded == ["a", "b", "c", "a"]


def sized() -> Sent:
    class Item:
        data, arrays = bytes(4), (np.zeros(1),)

    item: Any = Item()
    nothing: Any = None
    return Sent({}, {"weights": item}, {}, {}, nothing, {})


def test_after_a_failure_only_the_number_of_the_last_good_exchange_is_left(end: ServerEnd) -> None:
    made = experiment(DIGITS)
    client = made.clients[0]
    assert end.remembered(client, 257) == {"fresh": True}
    sent = end.encode(client, {"weights": weights(made, 0.5)}, 1, Outbox(Spool()))
    end.take(client, sent.references, exchange=257)
    assert end.remembered(client, 513) == {"fresh": False}
    end.give_up(client)
    assert end.remembered(client, 513) == {"fresh": True}
    assert (end.references[0].accepted, dict(end.references[0].bases)) == (257, {})


def test_a_request_that_is_not_declared_is_refused(end: ServerEnd) -> None:
    payload: Payload = {"secrets": [np.zeros(1, np.float32)]}
    with pytest.raises(PayloadError, match="secrets is not declared"):
        end.encode(experiment(DIGITS).clients[0], payload, 1, Outbox(Spool()))

"""Whether what a client returned can be the result of training: one that exploded must not end everybody's learning.

A finite 1e30 passes every other check, and an average over clients hands it to all of them. What a client changed is
compared with what the others of the same call changed: what is learned by itself, so that large statistics hide nothing
of it, and these by themselves. The bound is for explosions: it is far above what skewed data or few epochs make of a
client, and no defence against one that lies within it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median_low
from typing import Final

import numpy as np

from fedcompress.wire.content import Arrays, Content, Kind, Payload

LEAST_REPLIES = 3
"""Replies from which on their median says what is usual."""
OWN_SIZE = 10.0
"""How many times its own size a content may change, whatever others do: they may have changed nothing at all."""

_PART: Final = 1 << 16
"""Elements that are looked at together, so that they stay in the cache of a processor."""
_PARTS: Final[Mapping[Kind, str]] = {"learned": "", "statistic": " (statistics)", "constant": " (constants)"}
"""Kind of an array -> what is put after its content's name."""


@dataclass(frozen=True)
class Change:
    """What a client did to one content; both are root mean squares, so that models of any size compare.

    Attributes:
        size: Of the difference to what the client was sent; of the content itself, if it was sent none.
        start: Of what it was sent; 0 for nothing.
    """

    size: float
    start: float = 0.0


def parts(payload: Payload, contents: Mapping[str, Content]) -> dict[str, Arrays]:
    """Returns what is compared by itself, by name: "weights", and apart from them "weights (statistics)".

    Args:
        payload: Decoded.
        contents: Their declarations.
    """
    by_kind: dict[str, Arrays] = {}
    for name, arrays in payload.items():
        for array, spec in zip(arrays, contents[name].arrays, strict=True):
            by_kind.setdefault(name + _PARTS[spec.kind], []).append(array)
    return by_kind


def changes(returned: Payload, sent: Payload, sizes: Mapping[str, float]) -> dict[str, Change]:
    """Returns content name -> change, of the contents that hold real numbers.

    Args:
        returned: Of the client.
        sent: What it had received.
        sizes: Root mean squares of that.
    """
    measured = {}
    for name, arrays in returned.items():
        start = sent.get(name)
        alike = start is not None and [a.shape for a in start] == [a.shape for a in arrays]
        size = root_mean_square(arrays, start if alike else None)
        if size is not None:
            measured[name] = Change(size, sizes[name] if alike else 0.0)
    return measured


def root_mean_square(arrays: Arrays, start: Arrays | None = None) -> float | None:
    """Returns the root mean square over all elements of the float arrays, less `start`; None if there are none."""
    total, count = 0.0, 0
    for i, array in enumerate(arrays):
        if array.dtype.kind == "f":
            flat, before = array.reshape(-1), None if start is None else start[i].reshape(-1)
            for at in range(0, flat.size, _PART):
                less = 0.0 if before is None else before[at : at + _PART]
                part = np.subtract(flat[at : at + _PART], less, dtype=np.float64)
                total += float(part @ part)
            count += flat.size
    return sqrt(total / count) if count else None


def implausible(replies: Sequence[Mapping[str, Change]], factor: float) -> list[str]:
    """Returns for each reply of a call why it cannot be the result of training; an empty text if it can.

    A content is refused if its change is more than `factor` times the median of the replies that hold it, and more than
    `OWN_SIZE` times what the client was sent. Of an even number the lower one of the two in the middle counts, so that
    it takes a majority to move it. Where the others returned the zeros that they were sent, nothing is refused. Of
    statistics both bounds are squared: a variance goes with the square of the data, which may have a long tail.

    Args:
        replies: Content name -> change, of each good reply.
        factor: `[server] implausible`; 0 refuses nothing.
    """
    problems = [""] * len(replies)
    for name in sorted({name for reply in replies for name in reply}) if factor else ():
        holders = [i for i, reply in enumerate(replies) if name in reply]
        if len(holders) < LEAST_REPLIES:
            continue
        power = 2 if name.endswith(_PARTS["statistic"]) else 1
        usual = median_low(replies[i][name].size for i in holders)
        for i in holders:
            change = replies[i][name]
            most = max(factor**power * usual, OWN_SIZE**power * change.start)
            if change.size > most > 0 and not problems[i]:
                what = "changed by" if change.start else "is of size"
                problems[i] = (
                    f"implausible: {name} {what} {change.size:.3g} (root mean square), the median of {len(holders)} "
                    f"replies is {usual:.3g}; expected at most {most:.3g} (server.implausible = {factor:g})"
                )
    return problems

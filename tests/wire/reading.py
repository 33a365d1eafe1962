"""What a receiver gets, for tests that look at nothing but the arrays."""

from __future__ import annotations

from typing import Any

from fedcompress.wire.codec import read
from fedcompress.wire.content import Arrays, Content


def decode(data: bytes, content: Content, **known: Any) -> Arrays:
    """Returns the arrays of a stream; `known` as for `read`."""
    return read(data, content, **known).arrays

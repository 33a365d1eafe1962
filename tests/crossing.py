"""What a receiver gets, for tests that look at nothing but the arrays; and value types of every origin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fedcompress.plugins import Plugins
from fedcompress.wire.codec import read
from fedcompress.wire.content import Arrays, Content
from fedcompress.wire.shipped import SHIPPED
from federating import PLUGINS

COARSE, BFLOAT16 = (Plugins((PLUGINS,)).value_type(name) for name in ("coarse", "brain"))
VALUE_TYPES = (*SHIPPED.values(), COARSE, BFLOAT16)
"""Those that ship, and those of `plugins/values`."""


def of_any_type(content: Content) -> Content:
    """Returns a content that may have any of `VALUE_TYPES`."""
    return replace(content, value_types=VALUE_TYPES)


def decode(data: bytes, content: Content, **known: Any) -> Arrays:
    """Returns the arrays of a stream; `known` as for `read`."""
    return read(data, content, **known).arrays

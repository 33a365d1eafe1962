"""none: the model is trained as it is."""

from __future__ import annotations

from typing import Any

from fedcompress.compression.base import Compression


class NoCompression(Compression):
    """Dense training, as the interface itself does it: both share a graph."""

    @property
    def key(self) -> tuple[Any, ...]:
        return (Compression,)

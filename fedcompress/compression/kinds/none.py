"""none: the model is trained as it is."""

from __future__ import annotations

from fedcompress.compression.base import Compression, Wrapping


class NoCompression(Compression):
    """Dense training."""

    def wrapping(self) -> Wrapping:
        return Wrapping()

"""Images as PNG files: 8 bits a channel, grayscale or RGB (ISO/IEC 15948)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COLOUR_TYPES = {1: 0, 3: 2}
"""Number of channels -> colour type of the header."""


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Writes pixels (height, width, 1 or 3), uint8.

    Raises:
        ValueError: Neither one channel nor three.
    """
    height, width, channels = pixels.shape
    if channels not in COLOUR_TYPES:
        raise ValueError(f"a PNG of {channels} channels; expected 1 (grayscale) or 3 (RGB)")
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(height, width * channels)
    unfiltered = np.pad(rows, ((0, 0), (1, 0)))  # each row begins with its filter, 0
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(unfiltered.tobytes(), 9)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

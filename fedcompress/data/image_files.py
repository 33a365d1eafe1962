"""Images as files (PNG, JPEG, ...), read into one array."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, first_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def read_images(name: str, paths: Sequence[Path], size: Sequence[int] | None = None) -> NDArray[np.uint8]:
    """Reads images: (n, height, width, 1) if all are grey, otherwise (n, height, width, 3).

    Args:
        name: Of the data set, for messages.
        paths: One for each image.
        size: Height and width to which they are scaled; None keeps theirs, which have to be the same.

    Raises:
        InputError: Pillow is not installed, one cannot be read, or they differ in size.
    """
    if find_spec("PIL") is None:
        raise InputError(f'Data set {name!r} needs an extra: pip install "fedcompress[images]"')
    images = [_read(name, path, size) for path in paths]
    channels = max((image.shape[-1] for image in images), default=1)
    images = [np.repeat(image, channels // image.shape[-1], axis=-1) for image in images]
    shapes = sorted({image.shape[:2] for image in images})
    if len(shapes) > 1:
        some = ", ".join(f"{height}x{width}" for height, width in shapes[:3])
        raise InputError(
            f"Data set {name!r} has images of {len(shapes)} sizes ({some}); say to which they are to be scaled, as in "
            "size=32x32."
        )
    return np.stack(images)


def _read(name: str, path: Path, size: Sequence[int] | None) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            grey = image.mode in ("1", "L", "LA", "I;16")
            made: Any = image.convert("L" if grey else "RGB")
            if size is not None:
                made = made.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(made, np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"Data set {name!r}: image {path} cannot be read: {first_line(error)}.") from error
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels

"""Images, as files (PNG, JPEG, ...) or opened by Pillow, made into one array of pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, first_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_GREY = ("1", "L", "LA")
"""Pillow's names of grey pixels of at most 8 bits; those of more begin with I or F."""


def read_images(name: str, paths: Sequence[Path], size: Sequence[int] | None = None) -> NDArray[Any]:
    """Reads all images of a data set, its training and test set together; see `stacked`.

    Args:
        name: Of the data set, for messages.
        paths: One for each image.
        size: Height and width to which they are scaled; None keeps theirs, which have to be the same.

    Raises:
        InputError: Pillow is not installed, one cannot be read, or they differ in size.
    """
    if find_spec("PIL") is None:
        raise InputError(f'Data set {name!r} needs an extra: pip install "fedcompress[images]"')
    return stacked(name, [_read(name, path, size) for path in paths])


def stamp(paths: Iterable[str]) -> str:
    """Returns a digest of the paths of files, with time and size of each; what is absent counts as such."""
    digest = sha256()
    for path in paths:
        state: os.stat_result | None = None
        with suppress(OSError, ValueError):
            state = Path(path).stat()
        digest.update(repr((path, state and state.st_mtime_ns, state and state.st_size)).encode())
    return digest.hexdigest()


def below(folder: str, depth: int) -> Iterator[str]:
    """Yields the paths of the images in a folder and in those below it, down to a depth, in the order of names."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.lower().endswith(SUFFIXES):
                yield entry.path
            elif depth and entry.is_dir():
                yield from below(entry.path, depth - 1)


def pixels_of(name: str, where: str, image: Any) -> NDArray[Any]:
    """Returns the pixels of an image of Pillow: (height, width, 1) if it is grey, otherwise (height, width, 3).

    They are uint8, or uint16 of a grey image that may have more than 8 bits, which `stacked` makes 8 of.

    Raises:
        InputError: Pixels are floats, negative, or of more than 16 bits; conversion would cut them off.
    """
    if not image.mode.startswith(("I", "F")):
        pixels = np.asarray(image.convert("L" if image.mode in _GREY else "RGB"), np.uint8)
        return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    pixels = np.asarray(image)
    if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
        kind = "floats" if pixels.dtype.kind == "f" else "whole numbers"
        raise InputError(
            f"Data set {name!r}: {where} has pixels that are {kind} from {pixels.min():g} to {pixels.max():g}; "
            "expected 8 or 16 bits a channel: whole numbers from 0 to 255, or to 65535."
        )
    return pixels.astype(np.uint16)[..., np.newaxis]


def scaled(name: str, pixels: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Returns an image (height, width, channels) with another height and width, interpolated.

    Raises:
        InputError: It is no such array.
    """
    if pixels.ndim != 3:
        raise InputError(f"Data set {name!r}: size= scales images; received arrays of shape {pixels.shape}.")
    from PIL import Image

    kept = np.uint8 if pixels.dtype == np.uint8 else np.float32 if pixels.dtype.kind == "f" else np.int32
    planes = [
        Image.fromarray(plane.astype(kept)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
        for plane in np.moveaxis(pixels, -1, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1).astype(pixels.dtype)


def stacked(name: str, images: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Returns the images of a whole data set as one array; grey ones get three channels where others have them.

    Of uint16 the upper 8 bits are kept, or the lower ones if no pixel of the whole set is above 255.

    Raises:
        InputError: They differ in size, or some are floats and others are not.
    """
    deep = [image for image in images if image.dtype == np.uint16]
    shift = 8 if any(image.max(initial=0) > np.iinfo(np.uint8).max for image in deep) else 0
    images = [(image >> shift).astype(np.uint8) if image.dtype == np.uint16 else image for image in images]
    if {image.shape[-1] for image in images if image.ndim == 3} == {1, 3}:
        images = [np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image for image in images]
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        some = ", ".join("x".join(map(str, shape)) for shape in shapes[:3])
        raise InputError(
            f"Data set {name!r} has images of {len(shapes)} sizes ({some}); say to which they are to be scaled, as in "
            "size=32x32."
        )
    if len({image.dtype.kind == "f" for image in images}) > 1:
        raise InputError(f"Data set {name!r} has images of floats and others of whole numbers; expected one of both.")
    return np.stack(images)


def _read(name: str, path: Path, size: Sequence[int] | None) -> NDArray[Any]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixels = pixels_of(name, f"image {path}", image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"Data set {name!r}: image {path} cannot be read: {first_line(error)}.") from error
    return pixels if size is None else scaled(name, pixels, size)

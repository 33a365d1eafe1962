"""A small generator as a file: kernels as integers of a few bits, a scale for each, biases as they are.

The file begins with `MAGIC`, the length of a header (uint32, little endian) and the header as JSON: shape of images,
classes, widths, bits, length of z. Then array by array: the bits of a kernel's integers, padded to whole bytes, behind
its scale (float32); or a bias as float32. With 32 bits, all are float32.
"""

from __future__ import annotations

import json
import struct

import numpy as np
from numpy.typing import NDArray

from fedcompress.compression.quantisers import FLOAT_BITS
from fedcompress.errors import InputError
from fedcompress.generators.slim import SMALL, SlimSpec
from fedcompress.wire.content import Arrays

MAGIC = b"fcgen1\n"
_SCALE = np.dtype("<f4")


def pack(spec: SlimSpec, generator: Arrays) -> bytes:
    """Returns the file of a small generator whose kernels are rounded to `spec.bits`."""
    head = {"input_shape": spec.input_shape, "classes": spec.classes, "widths": spec.networks.widths}
    header = json.dumps({**head, "bits": spec.bits, "noise": spec.noise}).encode()
    parts = [MAGIC, struct.pack("<I", len(header)), header]
    for index, array in enumerate(generator):
        rounded = index % 2 == 0 and spec.bits < FLOAT_BITS
        parts.append(_integers(array, spec.bits) if rounded else array.astype(_SCALE).tobytes())
    return b"".join(parts)


def packed_arrays(arrays: Arrays, bits: int) -> bytes:
    """Returns arrays one after the other: the bits of integers behind a scale for each array, or float32 with 32."""
    return b"".join(_integers(a, bits) if bits < FLOAT_BITS else a.astype(_SCALE).tobytes() for a in arrays)


def unpack(data: bytes) -> tuple[SlimSpec, Arrays]:
    """Undoes `pack`, to the last bit but one of a kernel's values.

    Raises:
        InputError: It is no such file.
    """
    try:
        if not data.startswith(MAGIC):
            raise ValueError
        start = len(MAGIC) + 4
        (length,) = struct.unpack("<I", data[len(MAGIC) : start])
        head = json.loads(data[start : start + length])
        shape, widths = tuple(head["input_shape"]), tuple(head["widths"])
        spec = SlimSpec(SMALL, shape, head["classes"], widths, head["bits"], head["noise"])
        rest, arrays = memoryview(data)[start + length :], []
        for index, template in enumerate(spec.generator_template):
            rounded = index % 2 == 0 and spec.bits < FLOAT_BITS
            size = 4 + -(-template.size * spec.bits // 8) if rounded else 4 * template.size
            flat = _values(rest[:size], template.size, spec.bits) if rounded else np.frombuffer(rest[:size], _SCALE)
            arrays.append(flat.astype(np.float32).reshape(template.shape))
            rest = rest[size:]
        return spec, arrays
    except (ValueError, KeyError, TypeError, struct.error):
        raise InputError(
            "a packed generator: received other or damaged bytes; expected a file of `generate`."
        ) from None


def _integers(kernel: NDArray[np.float32], bits: int) -> bytes:
    top = 2 ** (bits - 1) - 1
    scale = np.float32(np.abs(kernel).max(initial=0.0) / top)
    # In float32 the largest magnitude may come out one step above the top, which has no bits.
    steps = np.round(kernel.ravel() / scale).astype(np.int64) if scale else np.zeros(kernel.size, np.int64)
    integers = np.clip(steps, -top, top) + top
    planes = (integers[:, None] >> np.arange(bits)) & 1
    return _SCALE.type(scale).tobytes() + np.packbits(planes.astype(np.uint8)).tobytes()


def _values(data: memoryview, size: int, bits: int) -> NDArray[np.float32]:
    scale = np.frombuffer(data[:4], _SCALE)[0]
    planes = np.unpackbits(np.frombuffer(data[4:], np.uint8), count=size * bits).reshape(size, bits).astype(np.int64)
    integers = (planes << np.arange(bits)).sum(axis=1) - (2 ** (bits - 1) - 1)
    values: NDArray[np.float32] = integers.astype(np.float32) * scale
    return values

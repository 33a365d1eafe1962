"""coarse: two bits a value: -1, 0 or 1 times a scale per array, rounded at random so that the mean is right.

Alistarh et al. 2017, "QSGD: communication-efficient SGD via gradient quantization and encoding".
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from fedcompress.wire.scaled import SMALLEST, Scaled


class Coarse(Scaled):
    name = "test.coarse"
    bits = 2

    def quantise(self, flat, sizes):
        rng = np.random.default_rng(list(blake2b(flat.tobytes(), digest_size=16).digest()))
        peaks = [np.abs(part).max(initial=0) for part in np.split(flat, np.cumsum(sizes)[:-1])]
        scales = np.where(np.array(peaks) > 0, np.maximum(peaks, SMALLEST), 0).astype("<f4")
        chances = np.abs(flat) / np.repeat(np.maximum(scales, SMALLEST), sizes)
        return (np.sign(flat) * (rng.random(flat.size) < chances)).astype("i1"), (scales,)

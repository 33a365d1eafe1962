"""Random numbers: every draw comes from a generator keyed by what it is for, never from a global one."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

SERVER = -1
"""Stands for "no client" where a generator is keyed by client."""


def generator(seed: int, round_number: int, client: int, purpose: str) -> np.random.Generator:
    """Returns the generator of one purpose, independent of all others.

    Args:
        seed: The scenario's seed.
        round_number: 0 before the first round.
        client: The client's partition, or `SERVER`.
        purpose: What the numbers are for, for example `"partition"` or `"train.shuffle"`.

    Returns:
        A generator that depends on the four keys alone: the same on any engine, in any order of calls.
    """
    key = sha256(f"{seed}/{round_number}/{client}/{purpose}".encode()).digest()
    return np.random.default_rng(np.frombuffer(key, np.uint32))

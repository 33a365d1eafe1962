"""How much a client computes: multiply-adds, added up where training and prediction happen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fedcompress.models.architecture import ModelSpec
from fedcompress.models.cost import multiply_adds

_thread = threading.local()
_known: dict[Any, int] = {}
"""What one example costs, by what is computed."""


@dataclass
class Work:
    """What has been computed inside a `counted` block.

    Attributes:
        multiply_adds: In matrix products and convolutions.
    """

    multiply_adds: int = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Counts what this thread computes inside the block. Outside of such a block, counting costs nothing."""
    before, _thread.work = getattr(_thread, "work", None), Work()
    try:
        yield _thread.work
    finally:
        _thread.work = before


def add(key: Any, examples: int, cost: Callable[[], int]) -> None:
    """Adds a computation, if somebody counts.

    Args:
        key: What is computed; equal keys cost the same.
        examples: How many times.
        cost: Returns the multiply-adds of one example; asked once for a key.
    """
    work: Work | None = getattr(_thread, "work", None)
    if work is not None:
        if key not in _known:
            _known[key] = cost()
        work.multiply_adds += examples * _known[key]


def add_pass(spec: ModelSpec, examples: int, *, training: bool) -> None:
    """Adds forward passes through a model, or training steps on single examples."""
    add((spec.key, training), examples, lambda: multiply_adds(spec.build(), training=training))

"""Who writes which column of `clients.jsonl` and `rounds.jsonl`: no report of a plug-in stands for a measurement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from fedcompress.errors import PayloadError
from fedcompress.rows import RoundRow

SERVER = frozenset(
    {"round", "action", "client", "group", "status", "error", "model_digest", "sparsity_target", "dense_bytes"}
)
"""Of a client's row: what the server writes, besides the figures of modelled devices, which begin with `MODELLED`."""
KEEPS = "keeps_model"
"""Of an answer: that the client has a model of its own, of which its class says nothing; in no row."""
MEASURED = frozenset(
    {"examples", "seconds", "graph_seconds", "multiply_adds", "sparsity", "parameters", "compressed_bytes", "accuracy"}
    | {"test_accuracy", "test_loss", "validation_accuracy", "local_validation_accuracy", KEEPS}
)
"""Of a client's row: what our client app measures, whatever the client strategy does."""
_OF_MODEL = frozenset({"sparsity", "parameters", "compressed_bytes"})
_AMOUNTS = _OF_MODEL | {"examples", "seconds", "graph_seconds", "multiply_adds"}
ROUND = frozenset(name for name in RoundRow.__annotations__ if not name.startswith("modelled_"))
"""Of a round's row: what a server strategy cannot note."""
MODELLED = "modelled_"
PREFIX = "reported_"
"""Begins the column of a metric that would have had the name of one of those."""
MOST, LONGEST_NAME = 256, 100
"""Metrics of one action, and characters of a name."""


def apart(metrics: Any, taken: frozenset[str] = SERVER | MEASURED) -> dict[str, float]:
    """Returns metrics under names that are free.

    Args:
        metrics: As a client strategy reports them, or as a client sends them with what it measured.
        taken: Columns that are not free.

    Raises:
        PayloadError: There are too many, or one has no name that could be printed, or is no number.
    """
    if not isinstance(metrics, Mapping):
        raise PayloadError(f"metrics are {type(metrics).__name__}, expected a mapping of names to numbers")
    if len(metrics) > MOST:
        raise PayloadError(f"{len(metrics):,} metrics are reported, expected at most {MOST}")
    columns = {}
    for name, value in metrics.items():
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            wanted = f"a name of 1 to {LONGEST_NAME} printable characters"
            raise PayloadError(f"a metric is called {str(name)[:LONGEST_NAME]!r}, expected {wanted}")
        columns[PREFIX + name if is_taken(name, taken) else name] = _number(value, name)
    return columns


def check(metrics: Mapping[str, float]) -> None:
    """Looks at what a client sends as measured: sums and means go over all clients, so that one may spoil them.

    Raises:
        PayloadError: An amount is none, or one of the model's is missing beside the others.
    """
    for name in sorted(_AMOUNTS & metrics.keys()):
        if not 0 <= metrics[name] < inf:
            raise PayloadError(f"{name} is {metrics[name]}, expected a number of 0 or more")
    if (missing := sorted(_OF_MODEL - metrics.keys())) and len(missing) < len(_OF_MODEL):
        raise PayloadError(f"the reply measures its model, but says no {' and no '.join(missing)}")


def is_taken(name: str, taken: frozenset[str]) -> bool:
    """Says whether a column is not free."""
    return name in taken or name.startswith(MODELLED)


def renamed(metrics: Iterable[str]) -> list[str]:
    """Returns the names, as they were reported, of the metrics that `apart` has renamed."""
    names = [name.removeprefix(PREFIX) for name in metrics if name.startswith(PREFIX)]
    return sorted(name for name in names if is_taken(name, SERVER | MEASURED))


def as_reported(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns metrics for a server strategy: also under the names that its clients gave them, where those are free."""
    return {**{name: metrics[PREFIX + name] for name in renamed(metrics)}, **metrics}


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise PayloadError(f"metric {name!r} is no number: {error}") from None

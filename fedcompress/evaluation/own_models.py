"""Scores of models that are the clients' own, which the server never sees: from the rows in which they were tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite, nan
from typing import Any

import numpy as np

from fedcompress.groups import Group
from fedcompress.rows import ClientRow

Rows = Mapping[int, ClientRow]
"""Partition -> the client's latest row of `clients.jsonl` in which it tested a model of its own."""


def of_clients(group: Group, rows: Rows) -> tuple[float, float, float]:
    """Means over the clients whose own models have been tested: test accuracy and loss, validation accuracy."""
    tested = [rows[p] for p in group.clients if p in rows and isfinite(figure(rows[p], "test_accuracy"))]
    if not tested:
        return nan, nan, nan
    columns = ("test_accuracy", "test_loss", "validation_accuracy")
    accuracy, loss, validation = np.mean([[figure(row, name) for name in columns] for row in tested], axis=0)
    return float(accuracy), float(loss), float(validation)


def on_own_distributions(clients: Iterable[int], rows: Rows, name: str = "accuracy") -> list[float]:
    """Returns a figure of each client's own model, as it was measured last; NaN where it was not."""
    return [figure(rows.get(partition, {}), name) for partition in clients]


def figure(row: Mapping[str, Any], name: str) -> float:
    """A figure of a row, NaN where there is none: in a row that was read from disk that is null."""
    value = row.get(name)
    return nan if value is None else float(value)

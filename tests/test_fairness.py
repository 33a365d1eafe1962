"""How evenly clients fare."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest

from fedcompress.fairness import over_clients, worst_tenth


@pytest.mark.parametrize(("count", "worst"), [(1, 1), (9, 1), (10, 1), (11, 2), (20, 2), (25, 3)])
def test_the_worst_tenth_is_at_least_one_client(count: int, worst: int) -> None:
    accuracies = [number / 100 for number in reversed(range(count))]
    assert worst_tenth(accuracies) == sorted(accuracies)[:worst]


def test_clients_that_were_not_scored_do_not_count() -> None:
    assert worst_tenth([nan, 0.5, inf, 0.25]) == [0.25]
    assert over_clients([0.0, 1.0, nan]) == {"mean": 0.5, "std": 0.5, "worst10": 0.0}


def test_without_a_scored_client_nothing_is_known() -> None:
    assert worst_tenth([nan]) == []
    assert all(map(isnan, over_clients([nan]).values()))

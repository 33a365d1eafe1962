"""plain: the model as it is, trained and measured; what every method is compared with."""

from __future__ import annotations

from collections.abc import Iterator

from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Method, Outcome


class Plain(Method):
    """No compression."""

    def run(self, bench: Bench) -> Iterator[Outcome]:
        yield Outcome(bench.dense())

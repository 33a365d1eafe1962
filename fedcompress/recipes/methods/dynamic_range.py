"""dynamic-range: a trained model's weights stored as int8; nothing is trained for it. Measured as a TFLite file.

TFLite leaves tensors of fewer than 1,024 weights as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from fedcompress.compression import tflite
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Method, Outcome


class DynamicRange(Method):
    """Post-training dynamic-range quantisation."""

    def run(self, bench: Bench) -> Iterator[Outcome]:
        weights = bench.dense()
        yield Outcome(weights, bits=8, tflite=tflite.convert(bench.network(weights), "dynamic-range"))

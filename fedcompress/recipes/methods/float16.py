"""float16: a trained model's weights stored in half precision; nothing is trained for it. Measured as a TFLite file."""

from __future__ import annotations

from collections.abc import Iterator

from fedcompress.compression import tflite
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Method, Outcome


class Float16(Method):
    """Post-training float16 quantisation."""

    def run(self, bench: Bench) -> Iterator[Outcome]:
        weights = bench.dense()
        yield Outcome(weights, bits=16, tflite=tflite.convert(bench.network(weights), "float16"))

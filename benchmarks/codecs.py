"""Megabytes of float32 that a core encodes and decodes in a second, each wire format, beside zlib level 6 and a copy.

    python -m benchmarks.codecs [--sizes 10000,1000000,10000000] [--repetitions 3]

One content of normal weights, one array; formats take turns, and the best of the repetitions counts. Seconds are of the
thread. A megabyte is 250,000 weights, whatever is left of them on the wire.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.report import console, print_machine, write
from fedcompress.wire.codec import Encoding, encode, read
from fedcompress.wire.content import Arrays, ArraySpec, Content
from fedcompress.wire.shipped import SHIPPED

FORMATS = {
    "float32": Encoding("dense", deflate=False),
    "float32 deflate": Encoding("dense"),
    "float16 deflate": Encoding("dense", SHIPPED["float16"]),
    "int8 deflate": Encoding("dense", SHIPPED["int8"]),
    "int8 entropy": Encoding("dense", SHIPPED["int8"], entropy=True),
    "int4 entropy": Encoding("dense", SHIPPED["int4"], entropy=True),
    "clustered entropy": Encoding("dense", SHIPPED["clustered"], entropy=True),
    "top-k 1 % int8 entropy": Encoding("sparse", SHIPPED["int8"], entropy=True, delta=True, top_k=0.01),
}

Step = Callable[[], Any]


def steps(flat: NDArray[np.float32], encoding: Encoding) -> tuple[bytes, Step, Step]:
    """Returns the stream of a vector in a format, and what encodes and decodes it."""
    content = Content((ArraySpec(flat.shape),), delta=encoding.delta)
    known: Arrays | None = [np.zeros_like(flat)] if encoding.delta else None
    data = encode([flat], content, encoding, reference=known).data
    return (
        data,
        lambda: encode([flat], content, encoding, reference=known),
        lambda: read(data, content, reference=known),
    )


def plain(flat: NDArray[np.float32]) -> dict[str, tuple[bytes, Step, Step]]:
    """Returns the same of what formats are read against."""
    raw = flat.tobytes()
    packed = zlib.compress(raw, 6)
    return {
        "copy": (raw, flat.copy, flat.copy),
        "zlib level 6": (packed, lambda: zlib.compress(raw, 6), lambda: zlib.decompress(packed)),
    }


def measured(size: int, repetitions: int) -> list[dict[str, Any]]:
    """Returns a row for each format at one number of weights."""
    flat = np.random.default_rng(0).normal(0, 0.05, size).astype(np.float32)
    cases = {**plain(flat), **{name: steps(flat, encoding) for name, encoding in FORMATS.items()}}
    best: dict[str, list[float]] = {name: [np.inf, np.inf] for name in cases}
    for _ in range(repetitions):
        for name, (_, *both) in cases.items():
            for which, step in enumerate(both):
                started = time.thread_time()
                step()
                best[name][which] = min(best[name][which], time.thread_time() - started)
    return [
        {
            "format": name,
            "weights": size,
            "bytes": len(data),
            "encode": flat.nbytes / 1e6 / max(best[name][0], 1e-9),
            "decode": flat.nbytes / 1e6 / max(best[name][1], 1e-9),
        }
        for name, (data, *_) in cases.items()
    ]


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    sizes: Annotated[str, typer.Option(help="Numbers of weights.")] = "10000,1000000,10000000",
    repetitions: Annotated[int, typer.Option(min=1)] = 3,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Results as JSON.")] = Path("runs/size/codecs.json"),
) -> None:
    """Measure how fast contents become bytes, and back."""
    found = print_machine()
    rows = []
    for size in map(int, sizes.split(",")):
        table = Table("format", title=f"{size:,} weights, MB of float32 a second and core", title_justify="left")
        for column in ("encode", "decode", "bytes", "bits a weight"):
            table.add_column(column, justify="right")
        for row in measured(size, repetitions):
            speeds = (f"{row[key]:,.0f}" for key in ("encode", "decode"))
            table.add_row(row["format"], *speeds, f"{row['bytes']:,}", f"{8 * row['bytes'] / size:.2f}")
            rows.append(row)
        console.print(table)
    write(out, {"machine": found, "rows": rows})


if __name__ == "__main__":
    app()

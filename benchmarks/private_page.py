"""docs/results/private-generators.md: what `benchmarks.private_generators` measured, written by command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.kept_rows import Row, rows_in, section, together
from benchmarks.private_embedding import means, rows_of, spread
from fedcompress.files import write_text
from fedcompress.generators.dp_sgd import DpSgd

PAGE = Path("docs/results/private-generators.md")
FEDERATED = Path("runs/dp-gan-by-clients")
LEAD = """# Private generators

What a classifier learns from the samples of a generator that is private by construction: accuracy of the judge, trained
on 20,000 samples and tested on the real test set. Fashion-MNIST, all 60,000 training images, delta 1e-5, one image
added or removed; noise keyed by the seed, so that figures repeat. Settings were chosen on 5,000 held-out training
images. ± is half of the 95 % interval over seeds (Student's t). Published at epsilon 10: GS-WGAN 0.65, G-PATE 0.69,
DP-MERF 0.754, DPDM 0.862.
"""
EMBEDDING = """
## Mean embeddings

Each client releases the sums of its images' random features and its class counts once, with noise of its own: epsilon
holds against the server. One client is the central case.

`python -m benchmarks.private_generators embedding --seed 1 --seed 2 --seed 3`

"""
GAN = """
## DP-SGD on a discriminator, centrally

`python -m benchmarks.private_generators dp-gan --seed 1 --seed 2 --seed 3`

"""
GAN_BY_CLIENTS = """
## DP-SGD on a discriminator, by clients

Equal parts of the images, on each of which a client trains with noise of its own; both networks are averaged at the
end of every round. Epsilon is that of each client, and holds against the server.

`{command}`

"""


def page(
    embeddings: Annotated[Path, typer.Option(help="Rows of `embedding`.")] = Path("runs/mean-embedding/rows.jsonl"),
    gans: Annotated[Path, typer.Option(help="Rows of `dp-gan`.")] = Path("runs/dp-gan/rows.jsonl"),
    federated: Annotated[Path, typer.Option(help="Rows of `dp-gan --clients`.")] = FEDERATED / "rows.jsonl",
    out: Annotated[Path, typer.Option()] = PAGE,
) -> None:
    """Write the page of results from the rows that are there, and those that it has."""
    reported: list[Row] = []
    text = LEAD
    for (part, (keys, written)), file in zip(PARTS.items(), (embeddings, gans, federated), strict=True):
        before = [row for row in rows_in(out) if row["part"] == part]
        now = [{"part": part, **row} for row in rows_of(file) if row["on"] == "test"]
        rows = sorted(_alike(together(before, now, keys)), key=lambda row: int(row["seed"]))
        reported += rows
        text += written(rows) if rows else ""
    write_text(out, text + section(reported))
    typer.echo(out)


def _alike(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows that differ from the last in nothing but privacy, clients, seed and what came out."""
    return [row for row in rows if all(row.get(key) == rows[-1].get(key) for key in SETTINGS)]


def _embedding(rows: Sequence[Row]) -> str:
    titles = ("epsilon", "clients", "seeds", "score", "of each seed", "processor minutes", "bytes up")
    return EMBEDDING + _table(titles, means(rows)) + _settings(rows[-1])


def _dp_gan(rows: Sequence[Row]) -> str:
    return GAN + _gans(rows)


def _dp_gan_by_clients(rows: Sequence[Row]) -> str:
    return GAN_BY_CLIENTS.format(command=_command(rows)) + _gans(rows)


def _gans(rows: Sequence[Row]) -> str:
    titles = ("epsilon", "clients", "seeds", "score", "of each seed", "processor minutes")
    last = rows[-1]
    settings = (
        f"{last['steps']:,} steps of a discriminator, {last['batch_size']:g} images expected in each, "
        f"{last['discriminator_steps']} for one of the generator; noise {last['noise']:.3f}"
    )
    rounds = f"; {last['steps'] // last['chunk']} rounds" if last.get("clients", 1) > 1 else ""
    return _table(titles, _of_gans(rows)) + f"\nSettings: {settings}{rounds}.\n"


def _command(rows: Sequence[Row]) -> str:
    last, seeds = rows[-1], " ".join(f"--seed {row['seed']}" for row in rows)
    given = {"clients": "clients", "steps": "steps", "chunk": "chunk", "batch": "batch_size"}
    options = " ".join(f"--{option} {last[key]:g}" for option, key in given.items())
    return f"python -m benchmarks.private_generators dp-gan {options} {seeds} --out {FEDERATED}"


_OF_DP_SGD = [field.name for field in fields(DpSgd) if field.name != "noise"]
SETTINGS = ("dataset", "settings", "gan", "delta", "steps", "chunk", *_OF_DP_SGD)
"""What the rows of a part have in common: those of other settings leave the page."""
_OF_GANS = ("dataset", "gan", "clients", "noise", "steps", "batch_size", "seed")
PARTS: Mapping[str, tuple[Sequence[str], Callable[[Sequence[Row]], str]]] = {
    "embedding": (("dataset", "epsilon", "clients", "seed", "settings"), _embedding),
    "dp-gan": (_OF_GANS, _dp_gan),
    "dp-gan by clients": (_OF_GANS, _dp_gan_by_clients),
}
"""Part -> what tells its rows apart, and how it is written."""


def _of_gans(rows: Sequence[Row]) -> Iterable[tuple[str, ...]]:
    """Yields a line for each epsilon of the DP GAN."""
    for epsilon in sorted({round(row["epsilon"], 2) for row in rows}):
        of = [row for row in rows if round(row["epsilon"], 2) == epsilon]
        minutes = np.mean([row["processor minutes"] for row in of])
        yield f"{epsilon:g}", str(of[0].get("clients", 1)), str(len(of)), *spread(of), f"{minutes:.1f}"


def _settings(row: Row) -> str:
    given = ", ".join(f"{key} {value}" for key, value in row["settings"].items())
    return f"\nSettings: {given}; the kernel's width was {row['width']:.1f}; {row['parameters']:,} parameters.\n"


def _table(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [titles, ["---"] * len(titles), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)

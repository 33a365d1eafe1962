"""The mean-embedding part of `benchmarks.private_generators`: a row for each epsilon, number of clients and seed.

Clients are equal parts of the training images, each of which adds noise of its own; one client is the central case. A
row holds all settings, and what has a row is not done again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.report import console, print_machine
from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.distillation.embedded import MeanEmbedding, make_embedding
from fedcompress.generators.judge import classifier
from fedcompress.generators.matching import Target, match
from fedcompress.generators.quality import accuracy_score, collapsed, grid_png
from fedcompress.generators.sampling import balanced_labels, sample
from fedcompress.generators.spec import GanSpec
from fedcompress.privacy.accounting import epsilon_of
from fedcompress.results.compare.statistics import SHARE, Interval
from fedcompress.scenario.public import EmbeddingSettings, PrivacySettings
from fedcompress.seeding import SERVER, generator
from fedcompress.wire.content import Arrays

HELD_OUT = 5000
"""Training images on which settings are chosen."""
SAMPLES = 20_000
"""Generated images that the judge learns from."""
DELTA = 1e-5

Row = dict[str, Any]


def divided(data: Examples, seed: int) -> tuple[Examples, Examples]:
    """Returns training examples, and those that are kept from them."""
    order = generator(seed, 0, SERVER, "embedding.held out").permutation(len(data))
    held, kept = np.sort(order[:HELD_OUT]), np.sort(order[HELD_OUT:])
    return Examples(data.x[kept], data.y[kept]), Examples(data.x[held], data.y[held])


def summed(source: MeanEmbedding, data: Examples, clients: int, seed: int) -> np.ndarray:
    """Returns the sum of what clients release, each of an equal part of the examples, and with noise of its own."""
    order = generator(seed, 0, SERVER, "embedding.partition").permutation(len(data))
    parts = [np.sort(part) for part in np.array_split(order, clients)]
    releases = [
        source.release(Examples(data.x[part], data.y[part]), generator(seed, 1, client, "embed.noise"))
        for client, part in enumerate(parts)
    ]
    return source.summed(releases, generator(seed, 1, SERVER, "embedding.noise"))


def made(
    source: MeanEmbedding, spec: GanSpec, data: Examples, clients: int, seed: int, settings: EmbeddingSettings
) -> Arrays:
    """Returns a generator that is trained on what clients release."""
    target = Target.of(source.embedding, summed(source, data, clients, seed), source.count_deviation(clients))
    start = spec.initial(generator(seed, 0, SERVER, "initial.gan")).generator
    rng = generator(seed, 1, SERVER, "embedding.matching")
    options = {"steps": settings.steps, "batch_size": settings.batch_size, "learning_rate": settings.learning_rate}
    return match(spec, start, source.embedding, target, rng=rng, **options).generator  # type: ignore[arg-type]


def measured(dataset: str, settings: EmbeddingSettings, key: Row, png: Path) -> Row:
    """Returns what a row says: `key` says which epsilon, clients, seed and examples; 0 for no noise."""
    loaded, seed = load_dataset(dataset), key["seed"]
    train, test = Examples(loaded.x_train, loaded.y_train), Examples(loaded.x_test, loaded.y_test)
    if key["on"] == "held out":
        train, test = divided(train, seed)
    shape, classes = loaded.x_train.shape[1:], loaded.classes
    privacy = PrivacySettings(epsilon=key["epsilon"], delta=DELTA) if key["epsilon"] else None
    source = make_embedding(settings, shape, classes, None, seed, privacy)
    spec = GanSpec(settings.generator, shape, classes)
    begun = time.process_time()
    weights = made(source, spec, train, key["clients"], seed, settings)
    seconds = time.process_time() - begun
    rng = generator(seed, 0, SERVER, "gan.sample")
    labels = balanced_labels(SAMPLES, classes, rng)
    samples = Examples(sample(spec, weights, labels, rng), labels)
    grid_png(samples.x, samples.y, png)
    return {
        "score": accuracy_score(samples, test, classifier(shape, classes), generator(seed, 0, SERVER, "gan.score")),
        "noise": source.event.noise,
        "accounted epsilon": epsilon_of([source.event], DELTA),
        "width": source.embedding.width,
        "parameters": spec.parameters,
        "bytes up": 4 * source.embedding.size * key["clients"],
        "processor minutes": seconds / 60,
        "collapsed": collapsed(samples.x, samples.y),
    }


def rows_of(path: Path) -> list[Row]:
    """Returns the rows that are done."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def embedding(
    seed: Annotated[list[int], typer.Option(help="Repeat for several; 101 to 105 with --validation.")],
    out: Annotated[Path, typer.Option(help="Rows and grids.")] = Path("runs/mean-embedding"),
    dataset: Annotated[str, typer.Option(help="Name of a data set of images.")] = "fashion-mnist",
    epsilon: Annotated[list[float] | None, typer.Option(help="0: without noise.  [default: 1, 3, 10]")] = None,
    clients: Annotated[list[int] | None, typer.Option(help="1: centrally.  [default: 1, 10]")] = None,
    option: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of \\[public.embedding].")] = None,
    validation: Annotated[bool, typer.Option(help="Score on held-out training images.")] = False,
) -> None:
    """A generator that matches the noisy mean embedding of the training images."""
    print_machine()
    values = {key: json.loads(value) for key, _, value in (text.partition("=") for text in option or [])}
    settings = EmbeddingSettings(**values)
    out.mkdir(parents=True, exist_ok=True)
    path, on = out / "rows.jsonl", "held out" if validation else "test"
    keys = [
        {"dataset": dataset, "on": on, "epsilon": e, "clients": n, "seed": s, "settings": settings.model_dump()}
        for e in epsilon or [1.0, 3.0, 10.0]
        for n in clients or [10, 1]
        for s in seed
    ]
    for key in keys:
        if any(all(row.get(name) == value for name, value in key.items()) for row in rows_of(path)):
            continue
        png = out / f"epsilon-{key['epsilon']:g}-clients-{key['clients']}-seed-{key['seed']}.png"
        row = {**key, **measured(dataset, settings, key, png)}
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        console.print(f"epsilon {key['epsilon']:g}, {key['clients']} clients, seed {key['seed']}: {row['score']:.4f}")
    show([row for row in rows_of(path) if any(all(row.get(k) == v for k, v in key.items()) for key in keys)])


def show(rows: Iterable[Row]) -> None:
    """Prints the mean over seeds for each epsilon and number of clients."""
    table = Table("epsilon", "clients", "seeds", "score", "of each", "processor minutes", "bytes up")
    for line in means(rows):
        table.add_row(*line)
    console.print(table)


def means(rows: Iterable[Row]) -> list[tuple[str, ...]]:
    """Returns a line for each epsilon and number of clients, over its seeds."""
    groups: dict[tuple[float, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["epsilon"], row["clients"]), []).append(row)
    lines = []
    for (epsilon, clients), of in sorted(groups.items()):
        minutes = float(np.mean([row["processor minutes"] for row in of]))
        kind = f"{epsilon:g}" if epsilon else "no noise"
        bytes_up = f"{of[0]['bytes up']:,}"
        lines.append((kind, str(clients), str(len(of)), *spread(of), f"{minutes:.1f}", bytes_up))
    return lines


def spread(rows: Iterable[Row]) -> tuple[str, str]:
    """Returns the mean score of rows with its interval, and that of each."""
    scores = [row["score"] for row in rows]
    return Interval.of(scores, SHARE).text(lambda value: f"{value:.4f}"), " ".join(f"{score:.4f}" for score in scores)

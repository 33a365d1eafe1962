"""The part of `benchmarks.private_generators` that is a GAN whose discriminator is trained by DP-SGD.

Centrally, on all training images; or by clients, equal parts of them, each of which trains a GAN with noise of its own,
and whose networks are averaged after every --chunk steps: epsilon is then that of each client, and holds against the
server. Optimizers start anew in each chunk, as they do in each round of a federation. What a chunk leaves is kept in
--out, from where the same command goes on. Settings are chosen with --validation, which keeps 5,000 training images
from the GAN and scores on those; without it the test set is looked at once, at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.private_embedding import HELD_OUT, SAMPLES, rows_of
from benchmarks.report import console, print_machine
from fedcompress.aggregation import weighted_mean
from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.generators.dp_sgd import DpSgd, Pace
from fedcompress.generators.judge import classifier
from fedcompress.generators.private_training import train_privately
from fedcompress.generators.quality import accuracy_score, collapsed, grid_png
from fedcompress.generators.sampling import balanced_labels, sample
from fedcompress.generators.spec import Gan, GanSpec
from fedcompress.privacy.accounting import Release, epsilon_of, noise_for
from fedcompress.seeding import SERVER, generator
from fedcompress.wire.content import Arrays

NETWORKS = ("generator", "discriminator")


@dataclass(frozen=True)
class Training:
    """A GAN in training.

    Attributes:
        gan: Its weights, averaged over clients.
        paces: Of each client's training.
        releases: Of one client; those of the others are equal.
        seconds: Of the processor, for all clients.
    """

    gan: Gan
    paces: tuple[tuple[float, ...], ...]
    releases: tuple[Release, ...] = ()
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """Of a client's discriminator."""
        return sum(release.steps for release in self.releases)

    def save(self, path: Path) -> None:
        """Writes it so that a kill leaves the last one whole."""
        rest = {"releases": [asdict(r) for r in self.releases], "seconds": self.seconds, "paces": self.paces}
        arrays = {f"{name}{i:03}": a for name in NETWORKS
                  for i, a in enumerate(getattr(self.gan, name))}  # fmt: skip
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, rest=np.array(json.dumps(rest)), **arrays)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Training:
        """Reads it."""
        with np.load(path) as file:
            rest = json.loads(str(file["rest"]))
            networks: dict[str, Arrays] = {
                name: [file[key] for key in sorted(file.files) if key.startswith(name)] for name in NETWORKS
            }
        paces, releases = tuple(map(tuple, rest["paces"])), tuple(Release(**r) for r in rest["releases"])
        return cls(Gan(**networks), paces, releases, rest["seconds"])


def score(spec: GanSpec, weights: Arrays, test: Examples, seed: int, samples: int) -> tuple[float, Examples]:
    """Returns the accuracy score of a generator, and its samples."""
    rng = generator(seed, 0, SERVER, "gan.sample")
    labels = balanced_labels(samples, spec.classes, rng)
    made = Examples(sample(spec, weights, labels, rng), labels)
    judge = classifier(spec.input_shape, spec.classes)
    return accuracy_score(made, test, judge, generator(seed, 0, SERVER, "gan.score")), made


def divided(x: NDArray[Any], y: NDArray[np.int32], seed: int) -> tuple[Examples, Examples]:
    """Returns training examples, and those that are kept from them."""
    order = generator(seed, 0, SERVER, "gan.held out").permutation(len(y))
    most = min(HELD_OUT, len(y) // 5)
    held, kept = np.sort(order[:most]), np.sort(order[most:])
    return Examples(x[kept], y[kept]), Examples(x[held], y[held])


def parts(data: Examples, clients: int, seed: int) -> list[Examples]:
    """Returns what each client has: equal parts, drawn at random."""
    if clients == 1:
        return [data]
    order = generator(seed, 0, SERVER, "gan.partition").permutation(len(data))
    return [Examples(data.x[part], data.y[part]) for part in map(np.sort, np.array_split(order, clients))]


def dp_gan(
    seed: Annotated[list[int], typer.Option(help="Repeat for several.")],
    out: Annotated[Path, typer.Option(help="Rows, checkpoints and grids.")] = Path("runs/dp-gan"),
    dataset: Annotated[str, typer.Option(help="Name of a data set of images.")] = "fashion-mnist",
    gan: Annotated[str, typer.Option(help="Kind of the networks.")] = "private",
    clients: Annotated[int, typer.Option(min=1, help="1: centrally.")] = 1,
    epsilon: Annotated[float, typer.Option(help="Of the whole training, for each client.")] = 10.0,
    delta: Annotated[float, typer.Option()] = 1e-5,
    steps: Annotated[int, typer.Option(help="Of each client's discriminator, for which the noise is chosen.")] = 6000,
    stop: Annotated[int, typer.Option(help="End after so many of them; 0: all.")] = 0,
    chunk: Annotated[int, typer.Option(help="Steps between checkpoints, at which clients are averaged.")] = 500,
    batch: Annotated[int, typer.Option(help="Expected real examples in a client's step.")] = 256,
    every: Annotated[int, typer.Option(help="Discriminator steps per generator step.")] = 1,
    adaptive: Annotated[bool, typer.Option(help="More of them where it falls behind.")] = False,
    clip: Annotated[float, typer.Option()] = 1.0,
    generator_batch: Annotated[int, typer.Option()] = 128,
    rates: Annotated[tuple[float, float], typer.Option(help="Of generator and discriminator; 0: the kind's.")] = (0, 0),
    validation: Annotated[bool, typer.Option(help="Score on held-out training images, after every chunk.")] = False,
) -> None:
    """DP-SGD on the discriminator of a conditional GAN."""
    out.mkdir(parents=True, exist_ok=True)
    data = load_dataset(dataset)
    test = Examples(data.x_test, data.y_test)
    spec = GanSpec(gan, data.x_train.shape[1:], data.classes)
    for which, rate in zip(("generator_rate", "discriminator_rate"), rates, strict=True):
        if rate:
            setattr(type(spec.networks), which, rate)
    print_machine()
    asked = [
        dataset,
        gan,
        clients,
        epsilon,
        delta,
        steps,
        chunk,
        batch,
        every,
        adaptive,
        clip,
        generator_batch,
        list(rates),
        validation,
    ]
    check_same(out / "settings.json", asked)
    rows = []
    for number in seed:
        if known := [
            row for row in rows_of(out / "rows.jsonl") if (row["seed"], row["steps"]) == (number, stop or steps)
        ]:
            rows.append(known[-1])
            continue
        train, held = divided(data.x_train, data.y_train, number)
        if not validation:
            train, held = Examples(data.x_train, data.y_train), test
        shares = parts(train, clients, number)
        sampling = min(1.0, batch / min(map(len, shares)))
        noise = noise_for(epsilon, delta, sampling=sampling, steps=steps)
        settings = DpSgd(clip, noise, batch, every, adaptive, generator_batch)
        console.print(f"seed {number}: noise {noise:.4f}, sampling {sampling:.5f}, {steps} steps")
        path = out / f"seed-{number}.npz"
        done = (
            Training.load(path)
            if path.exists()
            else Training(spec.initial(generator(number, 0, SERVER, "gan.initial")), (Pace(every),) * clients)
        )
        while done.steps < (stop or steps):
            done = further(spec, done, shares, settings, min(chunk, (stop or steps) - done.steps), number)
            done.save(path)
            console.print(f"seed {number}: {done.steps} steps, {done.seconds / 60:.1f} processor minutes", end="")
            if validation:
                figure, _ = score(spec, done.gan.generator, held, number, SAMPLES // 4)
                console.print(f", score on held-out images {figure:.4f}", end="")
            console.print()
        figure, made = score(spec, done.gan.generator, held, number, SAMPLES)
        grid_png(made.x, made.y, out / f"seed-{number}.png")
        row = {
            "seed": number, "clients": clients, "score": figure, "on": "held out" if validation else "test",
            "epsilon": epsilon_of(done.releases, delta), "delta": delta, "steps": done.steps,
            "processor minutes": done.seconds / 60, "collapsed": collapsed(made.x, made.y),
            "dataset": dataset, "gan": gan, "chunk": chunk, "noise": noise, "sampling": sampling,
            **{k: v for k, v in asdict(settings).items() if k != "noise"},
        }  # fmt: skip
        rows.append(row)
        (out / "rows.jsonl").open("a").write(json.dumps(row) + "\n")
    show(rows)


def check_same(path: Path, asked: list[Any]) -> None:
    """Keeps what was asked, or refuses what differs from it: checkpoints of other settings are not gone on from."""
    if path.exists() and json.loads(path.read_text()) != asked:
        raise typer.BadParameter(f"{path.parent} has results of other settings; use another --out")
    path.write_text(json.dumps(asked))


def further(
    spec: GanSpec, done: Training, shares: Sequence[Examples], settings: DpSgd, steps: int, seed: int
) -> Training:
    """Returns a training after more steps of every client's discriminator."""
    begun, made = time.process_time(), []
    for client, (share, pace) in enumerate(zip(shares, done.paces, strict=True)):
        who = SERVER if len(shares) == 1 else client
        rng, noise = (generator(seed, 1 + done.steps, who, purpose) for purpose in ("gan.train", "gan.noise"))
        made.append(
            train_privately(spec, done.gan, share, settings, steps=steps, rng=rng, noise=noise, pace=Pace(*pace))
        )
    sizes = [len(share) for share in shares]
    gan = Gan(*(weighted_mean([getattr(one.gan, name) for one in made], sizes) for name in NETWORKS))
    losses = np.mean([(one.generator_loss, one.discriminator_loss) for one in made], axis=0)
    console.print(f"losses {losses[0]:.3f} {losses[1]:.3f}, ", end="")
    releases, seconds = (*done.releases, *made[0].releases), done.seconds + time.process_time() - begun
    return Training(gan, tuple(one.pace for one in made), releases, seconds)


def show(rows: list[dict[str, Any]]) -> None:
    """Prints a row for each seed, and the mean."""
    table = Table("seed", "score", "on", "epsilon", "steps", "processor minutes", "collapsed")
    for row in rows:
        table.add_row(
            str(row["seed"]), f"{row['score']:.4f}", row["on"], f"{row['epsilon']:.3f}", f"{row['steps']}",
            f"{row['processor minutes']:.1f}", str(row["collapsed"] or "no"),
        )  # fmt: skip
    console.print(table)
    console.print(f"mean score {np.mean([row['score'] for row in rows]):.4f}")

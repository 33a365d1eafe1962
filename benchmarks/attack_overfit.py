"""How well the training examples of a GAN are recognised that has learned a few images by heart.

    python -m benchmarks.attack_overfit --seed 1 --seed 2 --seed 3

The other end of the scale is the same GAN asked for images that it never saw: half of the test set against the other.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.report import console, print_machine
from fedcompress.attacks.auc import Auc
from fedcompress.attacks.membership import Target, attack
from fedcompress.data.dataset import Dataset
from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.generators.spec import GanSpec
from fedcompress.generators.training import train
from fedcompress.seeding import SERVER, generator


def main(
    seed: Annotated[list[int], typer.Option(help="May be repeated.")],
    dataset: str = "fashion-mnist",
    gan: str = "compact",
    images: Annotated[int, typer.Option(help="That the GAN is trained on.")] = 500,
    epochs: int = 400,
    samples: int = 10_000,
    data_dir: Path | None = None,
) -> None:
    """Prints AUC and interval of each attack, for each seed."""
    print_machine()
    data = load_dataset(dataset, data_dir=data_dir)
    table = Table("seed", "members", "attack by", "AUC", "95 % interval", "minutes", title=f"{gan}, {epochs} epochs")
    for one in seed:
        started = time.perf_counter()
        target = overfit(data, gan, images, epochs, one)
        minutes = (time.perf_counter() - started) / 60
        for name, judged in (("learned", target), ("never seen", of_others(target, images))):
            for score, found in attack(judged, examples=images, samples=samples).aucs.items():
                table.add_row(str(one), name, score, *_shown(found), f"{minutes:.1f}")
    console.print(table)


def overfit(data: Dataset, gan: str, images: int, epochs: int, seed: int) -> Target:
    """Returns a GAN that has seen a few training images over and over."""
    rng = generator(seed, 0, SERVER, "overfit")
    chosen = rng.permutation(len(data.x_train))[:images]
    members = Examples(data.x_train[chosen], data.y_train[chosen])
    spec = GanSpec(gan, data.x_train.shape[1:], data.classes)
    trained = train(spec, spec.initial(rng), members, epochs=epochs, rng=rng).gan
    held_out = Examples(data.x_test, data.y_test)
    return Target(f"seed {seed}", spec, [trained.generator], trained.discriminator, members, held_out, seed)


def of_others(target: Target, images: int) -> Target:
    """Returns the same GAN, with so many members that it never saw."""
    x, y = target.held_out.x, target.held_out.y
    return replace(target, members=Examples(x[:images], y[:images]), held_out=Examples(x[images:], y[images:]))


def _shown(found: Auc) -> tuple[str, str]:
    return f"{found.value:.3f}", f"{found.low:.3f} to {found.high:.3f}"


if __name__ == "__main__":
    typer.run(main)

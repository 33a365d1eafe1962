"""What a classifier learns from the samples of a GAN, trained centrally or by federated averaging.

    python -m benchmarks.gan --dataset fashion-mnist --gan compact --minutes 10 [--clients 10 --alpha 0.5 --rounds 12]

In a round every client trains generator and discriminator on its own examples, and both are averaged by their numbers
of examples; one client holds everything, which is central training. Among the rounds that were scored the one with the
best classification accuracy score on the server's validation examples is chosen; only that one sees the test set, and
with `--validation` none does. A slim GAN is slimmed and crosses as in a federation; its last round is the one chosen.

    python -m benchmarks.gan --dataset mnist-5k --gan slim --clients 5 --rounds 8 --epochs 6 --rho 0.1 --validation
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.report import console, print_machine, write
from fedcompress.aggregation import weighted_mean
from fedcompress.data.federated import Examples, FederatedData, federate
from fedcompress.data.loading import load_dataset
from fedcompress.distillation.slimming import SlimTraining
from fedcompress.generators.judge import classifier
from fedcompress.generators.quality import (
    accuracy_score,
    collapsed,
    features,
    fitted,
    frechet_distance,
    grid_png,
    kernel_distance,
)
from fedcompress.generators.sampling import balanced_labels, sample
from fedcompress.generators.spec import Gan, GanSpec
from fedcompress.generators.training import TrainedGan, train
from fedcompress.plugins import Plugins
from fedcompress.scenario.public import SLIM_BETA, SLIM_BITS, SLIM_FROM, SLIM_RHO, PublicSettings
from fedcompress.scenario.sections import DataSettings
from fedcompress.seeding import SERVER, generator
from fedcompress.wire.codec import Encoding
from fedcompress.wire.content import Arrays
from fedcompress.wire.payload import WireFormat, decode_payload, encode_payload
from fedcompress.wire.shipped import SHIPPED

WORKERS = 2


@dataclass(frozen=True)
class Round:
    """A round's GAN, and how it came about: training seconds so far, mean losses over clients."""

    number: int
    gan: Gan
    seconds: float
    generator_loss: float
    discriminator_loss: float


def rounds(
    spec: GanSpec, data: FederatedData, seed: int, epochs: int, batch_size: int, slim: SlimTraining | None = None
) -> Iterator[Round]:
    """Yields one round after the other, without end."""
    gan, seconds, number = spec.initial(generator(seed, 0, SERVER, "gan.initial")), 0.0, 0
    parts = [data.train(client) for client in range(data.clients)]
    sizes = [len(part) for part in parts]
    with ThreadPoolExecutor(min(WORKERS, data.clients)) as pool:
        while True:
            number += 1
            start = gan

            def local(client: int, start: Gan = start, number: int = number) -> TrainedGan:
                rng = generator(seed, number, client, "gan.train")
                if slim is not None:
                    return slim.train(start, parts[client], number, rng, None)
                return train(spec, start, parts[client], epochs=epochs, batch_size=batch_size, rng=rng)

            begun = time.perf_counter()
            trained = list(pool.map(local, range(data.clients)))
            mean = weighted_mean([t.gan.generator for t in trained], sizes)
            gan = Gan(
                slim.compressed(mean) if slim else mean, weighted_mean([t.gan.discriminator for t in trained], sizes)
            )
            seconds += time.perf_counter() - begun
            losses = np.average([(t.generator_loss, t.discriminator_loss) for t in trained], axis=0, weights=sizes)
            yield Round(number, gan, seconds, *map(float, losses))


class Judge:
    """Scores generators of one data set; equal generators get equal scores."""

    def __init__(self, spec: GanSpec, data: FederatedData, seed: int, samples: int) -> None:
        self.spec, self.data, self.seed, self.samples = spec, data, seed, samples
        self.classifier = classifier(spec.input_shape, spec.classes)

    def draw(self, weights: Arrays, samples: int) -> Examples:
        """Returns generated examples, every class as often as the others."""
        rng = generator(self.seed, 0, SERVER, "gan.sample")
        labels = balanced_labels(samples, self.spec.classes, rng)
        return Examples(sample(self.spec, weights, labels, rng), labels)

    def score(self, weights: Arrays, test: Examples, samples: int) -> float:
        """Returns the accuracy of a classifier trained on samples and tested on `test`."""
        rng = generator(self.seed, 0, SERVER, "gan.score")
        return accuracy_score(self.draw(weights, samples), test, self.classifier, rng)

    def validation(self, weights: Arrays) -> float:
        """Returns the score by which a round is chosen, with a quarter of the samples."""
        return self.score(weights, self.data.server_validation_examples, self.samples // 4)

    def report(self, weights: Arrays, png: Path | None) -> dict[str, Any]:
        """Returns every figure of a generator, on the test set."""
        content = {"generator": self.spec.contents["generator"]}
        made = self.draw(weights, self.samples)
        figures: dict[str, Any] = {"collapsed": collapsed(made.x, made.y)}
        for values in ("float32", "int8"):
            sent = encode_payload({"generator": weights}, content, WireFormat(Encoding(values=SHIPPED[values])))
            data = sent["generator"].data
            received = decode_payload({"generator": data}, content)["generator"]
            figures[f"bytes {values}"] = len(data)
            figures[f"score {values}"] = self.score(received, self.data.test_examples, self.samples)
        real = self.data.test_examples
        reference = fitted(self.data.pooled(), self.classifier, generator(self.seed, 0, SERVER, "gan.reference"), 3)
        of_real, of_made = (features(self.classifier, reference, x) for x in (real.x, made.x[: len(real)]))
        figures["frechet"] = frechet_distance(of_real, of_made)
        figures["kernel"] = kernel_distance(of_real, of_made)
        if png is not None:
            grid_png(made.x, made.y, png)
        return figures


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    dataset: Annotated[str, typer.Option(help="Name of a data set of images.")] = "fashion-mnist",
    gan: Annotated[str, typer.Option(help="compact, cgan or slim.")] = "compact",
    minutes: Annotated[float, typer.Option(help="Of training; the round that passes it is the last.")] = 10.0,
    most: Annotated[int, typer.Option("--rounds", min=1, help="Most rounds.")] = 1000,
    every: Annotated[int, typer.Option(min=1, help="Rounds between two scores on validation examples.")] = 2,
    clients: Annotated[int, typer.Option(min=1, help="1 trains centrally.")] = 1,
    alpha: Annotated[float, typer.Option(help="Of the Dirichlet partition; 0 for iid.")] = 0.5,
    epochs: Annotated[int, typer.Option(min=1, help="Local epochs in a round.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    samples: Annotated[int, typer.Option(min=100, help="For the classifier.")] = 20_000,
    seed: Annotated[int, typer.Option()] = 1,
    bits: Annotated[int, typer.Option(help="slim: 4, 8 or 32.")] = SLIM_BITS,
    rho: Annotated[float, typer.Option(min=0.0, help="slim.")] = SLIM_RHO,
    beta: Annotated[float, typer.Option(min=0.0, help="slim.")] = SLIM_BETA,
    slim_from: Annotated[int, typer.Option(min=1, help="slim.")] = SLIM_FROM,
    only_validation: Annotated[bool, typer.Option("--validation", help="Leave the test set alone.")] = False,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Grid of samples.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON.")] = None,
) -> None:
    """Train a GAN and measure what its samples are worth."""
    machine = print_machine()
    loaded = load_dataset(dataset)
    method = "dirichlet" if alpha and clients > 1 else "iid"
    settings = DataSettings(clients=clients, partition=method, alpha=alpha or 0.5, minimum=1, validation=0.0)
    partition = Plugins().load("partitions", method)
    data = federate(loaded, partition(partition.Params(), settings), seed)
    shape, slim = loaded.x_train.shape[1:], None
    if gan == "slim":
        public = PublicSettings.model_validate(
            {"gan": gan, "bits": bits, "rho": rho, "beta": beta, "slim_from": slim_from, "epochs": epochs}
            | {"batch_size": batch_size}
        )
        slim = SlimTraining(public, shape, loaded.classes)
    spec = slim.spec if slim else GanSpec(gan, shape, loaded.classes)
    judge, history, best = Judge(spec, data, seed, samples), [], (-1.0, 0, [])
    for done in rounds(spec, data, seed, epochs, batch_size, slim):
        last = done.seconds >= 60 * minutes or done.number >= most
        row = {k: v for k, v in vars(done).items() if k != "gan"}
        if last or done.number % every == 0:
            row["validation"] = judge.validation(done.gan.generator)
            scored = (row["validation"], done.number, done.gan.generator)
            best = scored if slim else max(best, scored, key=lambda item: item[0])
        row |= slim.sizes(done.gan.generator) if slim else {}
        history.append(row)
        console.print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
        if last:
            break
    figures = {"parameters": spec.parameters, "chosen round": best[1], "validation": best[0]}
    if not only_validation:
        figures |= judge.report(best[2], png)
    table = Table("figure", "value", title=f"{gan} on {dataset}, {clients} clients", title_justify="left")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    console.print(table)
    write(out, {"machine": machine, "figures": figures, "rounds": history})


if __name__ == "__main__":
    app()

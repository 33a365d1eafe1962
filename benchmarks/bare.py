"""The practical floor: federated averaging in bare TensorFlow, without any framework, in one process or several.

Imports NumPy, TensorFlow and tf_keras, nothing else that is installed. One graph holds a client's whole training; it is
traced once and reused for every client and round. Weights go in and come out as NumPy arrays. With several processes
the clients of a round are dealt out alternately, and so are the test images.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path("/usr/share/datasets/fashion-mnist")
BATCH, RATE = 64, 1e-3
TEST_BATCH = 1000

Weights = list[NDArray[np.float32]]


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Returns the array in an IDX file of bytes, gzipped or not."""
    packed = path if path.exists() else path.with_name(path.name + ".gz")
    raw = gzip.decompress(packed.read_bytes()) if packed.suffix == ".gz" else packed.read_bytes()
    sizes = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


def read_images(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Returns images (n, 28, 28, 1) and labels (n,) of "train" or "t10k"."""
    images, labels = (read_idx(folder / f"{part}-{what}-ubyte") for what in ("images-idx3", "labels-idx1"))
    return images[..., np.newaxis], labels.astype(np.int32)


def medium_cnn(layers: Any, inputs: Any) -> Any:
    """Returns the features of medium-cnn."""
    x = inputs
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2, strides=1, padding="same")(x)
    return layers.Flatten()(layers.Conv2D(16, 3, strides=2, padding="same")(x))


def resnet_8(layers: Any, inputs: Any) -> Any:
    """Returns the features of resnet-8, normalised in groups of 4 channels."""
    norm = group_normalisation(layers)

    def convolved(x: Any, filters: int, size: int, stride: int) -> Any:
        return norm()(layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)(x))

    x = layers.ReLU()(convolved(inputs, 16, 3, 1))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        inner = convolved(layers.ReLU()(convolved(x, filters, 3, stride)), filters, 3, 1)
        shortcut = x if stride == 1 else convolved(x, filters, 1, stride)
        x = layers.ReLU()(layers.Add()([shortcut, inner]))
    return layers.GlobalAveragePooling2D()(x)


def group_normalisation(layers: Any) -> Any:
    """Returns a layer for groups of 4 channels that has no axis of groups in its maps: Keras' own takes longer."""
    import tensorflow as tf

    class Grouped(layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.gamma = self.add_weight("gamma", (shape[-1],), initializer="ones")
            self.beta = self.add_weight("beta", (shape[-1],), initializer="zeros")

        def call(self, x: Any) -> Any:
            channels = x.shape[-1]

            def mean(maps: Any) -> Any:
                of_channels = tf.reshape(tf.reduce_mean(maps, axis=[1, 2]), [-1, channels // 4, 4])
                return tf.repeat(tf.reduce_mean(of_channels, axis=-1), 4, axis=1)[:, tf.newaxis, tf.newaxis]

            centred = x - mean(x)
            return centred * (tf.math.rsqrt(mean(tf.square(centred)) + 1e-3) * self.gamma) + self.beta

    return Grouped


NETWORKS = {"medium-cnn": medium_cnn, "resnet-8": resnet_8}
"""The exact networks of these names, written down once more: what is compared does not come from what is measured."""


def build(name: str) -> Any:
    """Returns a network for 28x28 grey images and 10 classes, not compiled."""
    import tf_keras

    inputs = tf_keras.Input((28, 28, 1))
    return tf_keras.Model(inputs, tf_keras.layers.Dense(10)(NETWORKS[name](tf_keras.layers, inputs)))


class Loop:
    """The model, its optimizer and the two graphs of one process.

    Args:
        name: Of the network.
        folder: Holds the four IDX files.
        clients: Number of clients, among which the training images are split evenly.
        seed: Of the split, the initial weights and all shuffling.
        initial: An .npz file of weights to start from instead.
    """

    def __init__(self, name: str, folder: Path, clients: int, seed: int, initial: Path | None = None) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf
        import tf_keras

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf_keras.utils.set_random_seed(seed)
        (x, y), (x_test, y_test) = read_images(folder, "train"), read_images(folder, "t10k")
        self._parts = np.split(np.random.default_rng(seed).permutation(len(x)).astype(np.int32), clients)
        self._seed = seed
        self._batches = [(x_test[i : i + TEST_BATCH], y_test[i : i + TEST_BATCH]) for i in range(0, 10_000, TEST_BATCH)]

        model = build(name)
        optimizer = tf_keras.optimizers.legacy.Adam(RATE)
        variables = model.trainable_variables
        optimizer._create_all_weights(variables)
        images, labels = tf.constant(x), tf.constant(y)

        def scaled(batch: Any) -> Any:
            return tf.cast(batch, tf.float32) * (1.0 / 255.0)

        def train(weights: Sequence[Any], order: Any) -> Any:
            for variable, value in zip(variables, weights, strict=True):
                variable.assign(value)
            for slot in optimizer.variables():
                slot.assign(tf.zeros_like(slot))

            def step(start: Any) -> Any:
                rows = order[start : start + BATCH]
                with tf.GradientTape() as tape:
                    logits = model(scaled(tf.gather(images, rows)), training=True)
                    targets = tf.gather(labels, rows)
                    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
                gradients = tape.gradient(loss, variables)
                optimizer.apply_gradients(
                    zip(gradients, variables, strict=True), experimental_aggregate_gradients=False
                )
                return start + BATCH

            tf.while_loop(lambda start: start < tf.size(order), step, [tf.constant(0)], parallel_iterations=1)
            return [tf.identity(variable) for variable in variables]

        def correct(batch: Any, targets: Any) -> Any:
            found = tf.argmax(model(scaled(batch), training=False), axis=1, output_type=tf.int32)
            return tf.math.count_nonzero(tf.equal(found, targets))

        shapes = [tf.TensorSpec(variable.shape, tf.float32) for variable in variables]
        if initial is not None:
            with np.load(initial) as arrays:
                model.set_weights(list(arrays.values()))
        self._model = model
        self._train = tf.function(train, input_signature=[shapes, tf.TensorSpec([None], tf.int32)], autograph=False)
        self._correct = tf.function(
            correct,
            input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.uint8), tf.TensorSpec([None], tf.int32)],
            autograph=False,
        )

    @property
    def initial(self) -> Weights:
        """The weights that the first round starts from."""
        return [np.array(w) for w in self._model.get_weights()]

    def train(self, weights: Weights, client: int, round_number: int) -> Weights:
        """Returns what one epoch on a client's images makes of the weights."""
        order = np.random.default_rng((self._seed, round_number, client)).permutation(self._parts[client])
        return [w.numpy() for w in self._train(weights, order)]

    def correct(self, weights: Weights, share: int, shares: int) -> int:
        """Returns how many of every `shares`-th batch of test images are classified correctly."""
        self._model.set_weights(weights)
        return sum(int(self._correct(x, y)) for x, y in self._batches[share::shares])

    def serve(self, pipe: Connection) -> None:
        """Carries out what the main process asks for, until it closes the pipe."""
        with suppress(EOFError):
            while True:
                method, arguments = pipe.recv()
                pipe.send([getattr(self, method)(*each) for each in arguments])


def assist(pipe: Connection, name: str, folder: Path, clients: int, seed: int) -> None:
    """Main function of a further process."""
    Loop(name, folder, clients, seed).serve(pipe)


def run(args: argparse.Namespace) -> None:
    """Trains all rounds and appends a line of JSON per round to `--out`."""
    pipes = []
    context = multiprocessing.get_context("fork")  # nothing is imported yet: the cheapest way to start a process
    for _ in range(args.processes - 1):
        pipe, theirs = context.Pipe()
        assistant = (theirs, args.model, args.data, args.clients, args.seed)
        context.Process(target=assist, args=assistant, daemon=True).start()
        theirs.close()
        pipes.append(pipe)
    loop = Loop(args.model, args.data, args.clients, args.seed, args.initial)

    def everywhere(method: str, arguments: Sequence[Sequence[Any]]) -> list[Any]:
        """Calls a method with each arguments, dealt out over the processes; results come in any fixed order."""
        for number, pipe in enumerate(pipes, start=1):
            pipe.send((method, arguments[number :: args.processes]))
        results = [getattr(loop, method)(*each) for each in arguments[:: args.processes]]
        return results + [result for pipe in pipes for result in pipe.recv()]

    weights = loop.initial
    for number in range(1, args.rounds + 1):
        started = time.perf_counter()
        chosen = np.random.default_rng((args.seed, number)).choice(args.clients, args.cohort, replace=False)
        updates = everywhere("train", [(weights, int(client), number) for client in chosen])
        weights = [np.mean(arrays, axis=0) for arrays in zip(*updates, strict=True)]
        shares = range(args.processes)
        accuracy = sum(everywhere("correct", [(weights, share, args.processes) for share in shares])) / 10_000
        row = {"round": number, "accuracy": accuracy, "seconds": time.perf_counter() - started}
        with args.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def arguments() -> argparse.ArgumentParser:
    """Returns the parser; the defaults are the benchmark's smaller work."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare", description=__doc__)
    parser.add_argument("--model", choices=NETWORKS, default="medium-cnn")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--cohort", type=int, default=10, help="clients in a round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--initial", type=Path, help=".npz file of weights to start from, in the model's order")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the four IDX files")
    parser.add_argument("--out", type=Path, required=True, help="file that gets a line of JSON per round")
    return parser


if __name__ == "__main__":
    run(arguments().parse_args())

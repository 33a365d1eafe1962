"""A plain Flower + Keras application, as in Flower's TensorFlow tutorial: each call builds, compiles and fits a model.

It is run by `flwr.simulation.run_simulation` with one CPU per client, so that all cores are used. Kinder than the
tutorial in two ways: data is read once per process, and the central test uses one model and batches of 1000.
"""

from __future__ import annotations

import json
import logging
import time
from argparse import Namespace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from benchmarks.bare import BATCH, RATE, TEST_BATCH, arguments, build, read_images

client = ClientApp()


def load_model(name: str) -> Any:
    """Returns a new compiled model."""
    model = build(name)
    model.compile(
        optimizer=tf_keras.optimizers.Adam(RATE),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


@cache
def training_data(folder: str) -> Any:
    """Returns all training images and labels, and a fixed order of them to split among the clients."""
    x, y = read_images(Path(folder), "train")
    return x, y, np.random.default_rng(1).permutation(len(x))


def load_data(folder: str, partition: int, partitions: int) -> Any:
    """Returns a client's images, scaled, and labels."""
    x, y, order = training_data(folder)
    own = np.array_split(order, partitions)[partition]
    return x[own].astype(np.float32) / 255.0, y[own]


@client.train()
def train(message: Message, context: Context) -> Message:
    """Trains on the client's own images."""
    tf_keras.backend.clear_session()
    config = message.content["config"]
    folder = str(config["data"])
    x, y = load_data(folder, context.node_config["partition-id"], context.node_config["num-partitions"])
    model = load_model(str(config["model"]))
    model.set_weights(message.content["arrays"].to_numpy_ndarrays())
    history = model.fit(x, y, epochs=1, batch_size=BATCH, verbose=0)
    metrics = MetricRecord({"num-examples": len(x), "train_loss": history.history["loss"][-1]})
    content = RecordDict({"arrays": ArrayRecord(model.get_weights()), "metrics": metrics})
    return Message(content=content, reply_to=message)


def make_server(args: Namespace) -> ServerApp:
    """Returns a server app that appends a line of JSON per round to `--out`."""
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        x_test, y_test = read_images(args.data, "t10k")
        x_test = x_test.astype(np.float32) / 255.0
        model = load_model(args.model)
        if args.initial:
            with np.load(args.initial) as arrays:
                model.set_weights(list(arrays.values()))
        last = time.perf_counter()

        def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord | None:
            nonlocal last
            if number == 0:  # Flower also tests the initial model
                return None
            model.set_weights(arrays.to_numpy_ndarrays())
            loss, accuracy = model.evaluate(x_test, y_test, batch_size=TEST_BATCH, verbose=0)
            now = time.perf_counter()
            row = {"round": number, "accuracy": accuracy, "seconds": now - last}
            last = now
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            return MetricRecord({"loss": loss, "accuracy": accuracy})

        strategy = FedAvg(
            fraction_train=args.cohort / args.clients, fraction_evaluate=0.0, min_available_nodes=args.clients
        )
        strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(model.get_weights()),
            train_config=ConfigRecord({"data": str(args.data), "model": args.model}),
            num_rounds=args.rounds,
            evaluate_fn=evaluate,
        )

    return server


def main() -> None:
    """Runs the simulation."""
    from flwr.simulation import run_simulation

    args = arguments().parse_args()
    logging.getLogger("flwr").setLevel(logging.WARNING)
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(make_server(args), client, num_supernodes=args.clients, backend_config=resources)


if __name__ == "__main__":
    # What is defined in __main__ travels to the workers by value, and with it goes the cache of the data.
    from benchmarks import flower_keras

    flower_keras.main()

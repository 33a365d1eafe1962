"""CIFAR-100 by its 100 fine labels."""

from ..cifar100_source import Cifar100Source


class Cifar100(Cifar100Source):
    """100 kinds of things."""

    name = "cifar100"
    labels = "fine"
    classes = 100

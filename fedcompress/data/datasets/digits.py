"""The 1,797 digits of 8 x 8 pixels that scikit-learn carries (Alpaydin and Kaynak 1998): the smallest real images."""

from __future__ import annotations

from ..table_source import TableSource


class Digits(TableSource):
    """1,438 for training, 359 for testing; 0..16 becomes 0..255."""

    name = "digits"
    package = "sklearn"
    distribution = "scikit-learn"
    file = "datasets/data/digits.csv.gz"
    side = 8
    brightest = 16

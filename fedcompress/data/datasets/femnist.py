"""femnist: handwritten digits and letters with their writers (Cohen et al. 2017, EMNIST; Caldas et al. 2018, LEAF)."""

from __future__ import annotations

from ..dataset import DataRoots, Dataset, DatasetSource
from ..emnist_files import H5, MAT, in_folder
from ..fetch import not_found

CLASSES = 62
"""Ten digits, then upper and lower case."""


class Femnist(DatasetSource):
    """From LEAF's JSON files, the .h5 files of TensorFlow Federated, or EMNIST's .mat file. Nothing is downloaded."""

    def load(self, roots: DataRoots) -> Dataset:
        """Returns the data set; see `DatasetSource.load`."""
        folders = roots.folders("femnist", "emnist", "femnist/data", "fed_emnist")
        for folder in folders:
            if found := in_folder(folder):
                train, test = found
                images = train.images[..., None], test.images[..., None]
                return Dataset(
                    *("femnist", images[0], train.labels, images[1], test.labels, CLASSES),
                    client_ids=train.writers,
                    test_client_ids=test.writers,
                )
        install = (
            f"--data-dir DIR, where DIR holds LEAF's folders train and test of JSON files, {' and '.join(H5.values())} "
            f"of TensorFlow Federated, or {MAT} of EMNIST; its idx files do not say who wrote what"
        )
        raise not_found("femnist", f"train/*.json, {H5['train']} or {MAT}", folders, install)

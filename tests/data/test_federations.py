"""Published data sets and those of Hugging Face, from small files of their formats to a federation that has run."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedcompress.data import cifar100_source
from fedcompress.data.datasets import cifar10, hf
from fedcompress.experiment import Experiment
from fedcompress.plugins import Plugins
from fedcompress.scenario import Scenario
from tests.data.test_people import as_binary, leaf, mat, tff
from tests.data.test_sources import FakeTable, binary
from tests.federating import run

WRITERS = {"f0_1": [3, 61, 5], "f0_2": [10, 11, 3], "f0_3": [5], "f0_4": [5, 3]}
"""Labels of each writer's characters: 3, 3, 1 and 2 of them."""


def federated(folder: Path, dataset: str, clients: int, **data: Any) -> Experiment:
    """Runs two rounds of a small federation on a data set that is looked for in a folder."""
    table = {
        "name": "published",
        "rounds": 2,
        "data": {
            "dataset": dataset,
            "clients": clients,
            "minimum": 1,
            "validation": 0.0,
            "server_validation": 0.0,
            **data,
        },
        "training": {"batch_size": 2},
        "evaluation": {"tflite": False},
        "groups": [{"name": "all", "model": "mlp:4"}],
    }
    made = Experiment.load(Scenario.parse(table), Plugins(), folder)
    summary, directory, _ = run(made, folder / "run")
    assert summary["status"] == "completed"
    trained = [row for row in directory.rows("clients") if row["action"] == "train"]
    assert [row["status"] for row in trained] == ["ok"] * 2 * clients
    return made


def owners(made: Experiment) -> list[set[int]]:
    """Returns whose examples each client has, by the pixels that tell one example from another."""
    ids = made.data.dataset.client_ids
    assert ids is not None
    of_image = {x.tobytes(): int(i) for x, i in zip(made.data.dataset.x_train, ids, strict=True)}
    return [{of_image[x.tobytes()] for x in made.data.train(client.partition).x} for client in made.clients]


@pytest.mark.parametrize("write", [leaf, tff, mat])
def test_femnist_by_writer(write: Callable[..., None], tmp_path: Path) -> None:
    """Of four writers two have fewer than three characters; those are one client."""
    write(tmp_path, WRITERS)
    made = federated(tmp_path, "femnist", 3, partition="natural", minimum=3)
    assert (
        made.warnings[0] == "data.partition: 2 of 4 people have fewer than 3 examples and are merged with each other."
    )
    assert owners(made) == [{0}, {1}, {2, 3}]
    assert made.data.dataset.classes == 62


@pytest.mark.parametrize(("name", "classes"), [("cifar100", 100), ("cifar100-coarse", 20)])
def test_cifar100(name: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar100_source, "SIZES", {"train": 8, "test": 4})
    (tmp_path / "cifar-100-binary").mkdir()
    for part, size in cifar100_source.SIZES.items():
        images = np.random.default_rng(size).integers(0, 256, (size, 3072), np.uint8)
        content = as_binary(images, [99, 5, 0, 7] * (size // 4), [19, 1, 0, 2] * (size // 4))
        (tmp_path / "cifar-100-binary" / f"{part}.bin").write_bytes(content)
    made = federated(tmp_path, name, 2, normalise="published")
    assert (made.data.dataset.classes, made.data.dataset.x_train.shape) == (classes, (8, 32, 32, 3))


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "RECORDS", 4)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        images = np.random.default_rng(len(name)).integers(0, 256, (4, 3072), np.uint8)
        (tmp_path / f"{name}.bin").write_bytes(binary(images, [9, 1, 0, 4]))
    made = federated(tmp_path, "cifar10", 2, partition="dirichlet", normalise="published")
    assert (made.data.dataset.classes, len(made.data.dataset.x_train)) == (10, 20)


def characters(count: int) -> list[np.ndarray]:
    """Grey images of 8x8 with a pixel of their own."""
    images = np.zeros((count, 8, 8), np.uint8)
    images.reshape(count, 64)[np.arange(count), np.arange(count)] = 200
    return list(images)


KINDS, PEOPLE = [0, 1, 2, 0, 1, 2, 0, 1, 0], ["ann", "ann", "ann", "bob", "bob", "bob", "cy", "cy", "dan"]


def in_files(folder: Path, *, described: bool) -> str:
    """Writes Parquet files as the hub has them, an image being its encoded bytes, and returns their folder.

    Args:
        folder: For theirs.
        described: Whether they say that these are images, as most do.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    def encoded(image: np.ndarray) -> dict[str, Any]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    images = [encoded(image) for image in characters(9)]
    features = (
        b'{"info": {"features": {"picture": {"_type": "Image"}, "kind": {"dtype": "int64", "_type": "Value"}, '
        b'"writer": {"dtype": "string", "_type": "Value"}}}}'
    )
    (folder / "hub" / "data").mkdir(parents=True)
    for split in ("train", "test"):
        pictures = pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
        table = pa.table({"picture": pictures, "kind": KINDS, "writer": PEOPLE})
        path = folder / "hub" / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(table.replace_schema_metadata({b"huggingface": features} if described else None), path)
    return str(folder / "hub")


@pytest.mark.parametrize(
    ("few", "clients", "expected", "said"),
    [
        ("merge", 3, [{0}, {1}, {2, 3}], "2 of 4 people have fewer than 3 examples and are merged with each other."),
        ("drop", 2, [{0}, {1}], "2 of 4 people have fewer than 3 examples and are dropped."),
    ],
)
@pytest.mark.parametrize("library", ["a stand-in", "datasets"])
def test_hugging_face(
    library: str,
    few: str,
    clients: int,
    expected: list[set[int]],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Label, image and client have columns of their own names; two of the four people have fewer than 3 examples."""
    if library == "datasets":
        for module in ("datasets", "pyarrow", "PIL"):
            pytest.importorskip(module)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        name = in_files(tmp_path, described=few == "merge")
    else:
        split = FakeTable(picture=characters(9), kind=KINDS, writer=PEOPLE)
        stand_in = SimpleNamespace(load_dataset=lambda _: {"train": split, "test": split})
        monkeypatch.setitem(sys.modules, "datasets", stand_in)
        monkeypatch.setattr(hf, "find_spec", lambda name: name == "datasets" or find_spec(name))
        name = "some/characters"
    dataset = f"hf:{name}?image=picture&label=kind&client=writer"
    params = {"partition": "natural", "minimum": 3, "partition_params": {"few": few}}
    made = federated(tmp_path, dataset, clients, **params)
    assert made.warnings[0] == f"data.partition: {said}"
    assert owners(made) == expected
    assert made.data.dataset.x_train.shape == (9, 8, 8, 1)

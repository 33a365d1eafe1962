"""A user's own data: tables and folders of images, and what is said of data that models learn badly from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fedcompress.data.dataset import Dataset
from fedcompress.data.datasets import hf
from fedcompress.data.loading import load_dataset
from fedcompress.data.notices import notices
from fedcompress.data.own_tables import SPLITS
from fedcompress.errors import InputError
from fedcompress.results.run.directory import RunDirectory
from tests.data.test_sources import FakeTable


@pytest.fixture(autouse=True)
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(rows: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    kinds = np.array(["cat", "ant", "bee", "ant"])[np.arange(rows) % 4]
    return pd.DataFrame(
        {"a": rng.normal(size=rows), "b": range(rows), "kind": kinds, "user": [f"u{i % 5}" for i in range(rows)]}
    )


def picture(path: Path, value: int, size: int = 8, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size, size), value if mode == "L" else (value, 0, 0)).save(path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table(separator: str) -> None:
    """Of 40 rows a fifth are the test set; ant, bee, cat are 0, 1, 2, in proportions of 2, 1 and 1."""
    table().to_csv("own.csv", index=False, sep=separator)
    data = load_dataset("csv:own.csv?label=kind")
    assert (data.x_train.shape, data.x_test.shape, data.classes) == ((32, 2), (8, 2), 3)
    assert np.bincount(data.y_train).tolist() == [16, 8, 8]
    assert data.client_ids is not None
    assert len(np.unique(data.client_ids)) == 5
    assert sorted([*data.x_train[:, 1], *data.x_test[:, 1]]) == list(range(40))


def test_a_split_that_the_table_says_or_another_file() -> None:
    whole = table().assign(split=["test" if i % 10 == 0 else "train" for i in range(40)])
    whole.to_csv("own.csv", index=False)
    whole[whole.split == "train"].drop(columns="split").to_csv("train.csv", index=False)
    whole[whole.split == "test"].drop(columns="split").to_csv("test.csv", index=False)
    said, apart = load_dataset("csv:own.csv?label=kind"), load_dataset("csv:train.csv?label=kind&test=test.csv")
    assert said.digest == apart.digest
    assert len(said.y_test) == 4


def test_pixels_in_columns() -> None:
    """As MNIST often comes: a row of 0..255 for each image."""
    pixels = np.random.default_rng(1).integers(0, 256, (30, 16))
    pd.DataFrame({"label": np.arange(30) % 3 + 5, **{f"p{i}": pixels[:, i] for i in range(16)}}).to_csv(
        "m.csv", index=False
    )
    data = load_dataset("csv:m.csv?shape=4x4")
    assert (data.x_train.shape[1:], data.x_train.dtype, data.classes) == ((4, 4, 1), np.uint8, 3)


def test_paths_of_images() -> None:
    for i in range(10):
        picture(Path(f"pictures/{i}.png"), 20 * i)
    rows = {"image": [f"pictures/{i}.png" for i in range(10)], "label": [i % 2 for i in range(10)]}
    pd.DataFrame(rows).to_csv("own.csv", index=False)
    data = load_dataset("csv:own.csv")
    assert (data.x_train.shape, data.x_train.dtype) == ((8, 8, 8, 1), np.uint8)
    assert sorted({int(x.max()) for x in (*data.x_train, *data.x_test)}) == [20 * i for i in range(10)]


def test_a_folder_of_images() -> None:
    for i in range(10):
        picture(Path(f"own/{'cat' if i % 2 else 'ant'}/{i}.png"), i, size=8 + i % 2, mode="RGB" if i == 3 else "L")
    data = load_dataset("folder:own?size=6x5")
    assert data.x_train.shape == (8, 6, 5, 3)
    assert (np.bincount(data.y_train).tolist(), np.bincount(data.y_test).tolist()) == ([4, 4], [1, 1])


def test_a_folder_for_each_client() -> None:
    for split, people in (("train", ("eva", "max")), ("test", ("eva",))):
        for person in people:
            for i in range(4):
                picture(Path(f"own/{split}/{person}/{i % 2}/{i}.png"), i)
    data = load_dataset("folder:own?client=folder")
    assert data.client_ids is not None
    assert data.client_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert data.test_client_ids is not None
    assert data.test_client_ids.tolist() == [0, 0, 0, 0]


def test_a_fifth_of_a_folder_is_tested_with_its_clients() -> None:
    """Twenty images of each of two clients, each as bright as its number."""
    for person in (0, 1):
        for i in range(20):
            picture(Path(f"own/{person}/{i % 2}/{i}.png"), 20 * person + i)
    data = load_dataset("folder:own?client=folder")
    assert data.test_client_ids is not None
    assert data.test_client_ids.tolist() == (data.x_test[:, 0, 0, 0] // 20).tolist()
    assert len(data.test_client_ids) == 8


def deep(path: Path, value: float, kind: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, kind)).save(path)


def deep_folder(values: list[float], kind: Any, suffix: str) -> str:
    for i, value in enumerate(values):
        deep(Path(f"own/{i % 2}/{i}{suffix}"), value, kind)
    return "folder:own"


def deep_table(values: list[float], kind: Any, suffix: str) -> str:
    """The last fifth is the test set; a table of its own cannot have another scale."""
    for i, value in enumerate(values):
        deep(Path(f"{i}{suffix}"), value, kind)
    test = len(values) - len(values) // 5
    rows = {
        "image": [f"{i}{suffix}" for i in range(len(values))],
        "label": [i % 2 for i in range(len(values))],
        "split": ["train" if i < test else "test" for i in range(len(values))],
    }
    pd.DataFrame(rows).to_csv("own.csv", index=False)
    return "csv:own.csv"


DEEP: list[Any] = [[deep_folder, deep_table], [(np.uint16, ".png"), (np.uint16, ".tif"), (np.int32, ".tif")]]


@pytest.mark.parametrize("size", ["", "size=4x4", "size=3x2"])
@pytest.mark.parametrize("prepare", DEEP[0])
@pytest.mark.parametrize(("kind", "suffix"), DEEP[1])
def test_images_of_16_bits_keep_the_upper_8(prepare: Callable[..., str], kind: Any, suffix: str, size: str) -> None:
    """A test set of dark images is on the scale of the training set: 200 is 0, not 200."""
    values = [0, 300, 12800, 65535, 40000, 700, 255, 256, 200, 200]
    data = load_dataset(f"{prepare(values, kind, suffix)}?{size}")
    pixels = sorted(x[0, 0, 0] for x in (*data.x_train, *data.x_test))
    assert (pixels, data.x_train.dtype) == (sorted(value // 256 for value in values), np.uint8)


@pytest.mark.parametrize("prepare", DEEP[0])
@pytest.mark.parametrize(("kind", "suffix"), DEEP[1])
def test_images_of_16_bits_of_which_8_are_used_stay_as_they_are(
    prepare: Callable[..., str], kind: Any, suffix: str
) -> None:
    values = [0, 255, 30, 7, 9, 100, 101, 102, 103, 104]
    data = load_dataset(prepare(values, kind, suffix))
    assert sorted(x[0, 0, 0] for x in (*data.x_train, *data.x_test)) == sorted(values)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (
            [0, 0.5, 1, 0.25],
            np.float32,
            r"own/\S+tif has pixels that are floats from \S+ to \S+; expected 8 or 16 bits",
        ),
        ([-1, -1, -1, -1], np.int32, "has pixels that are whole numbers from -1 to -1; expected 8 or 16 bits"),
        ([70000, 70000, 1, 1], np.int32, "has pixels that are whole numbers from 70000 to 70000; expected 8 or 16"),
    ],
)
def test_images_that_no_8_bits_hold_are_refused(values: list[float], kind: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(deep_folder(values, kind, ".tif"))
    assert len(caught.value.problems) == 1


def test_a_parquet_file() -> None:
    pytest.importorskip("pyarrow")
    table().to_parquet("own.parquet")
    table().to_csv("own.csv", index=False)
    assert load_dataset("parquet:own.parquet?label=kind").digest == load_dataset("csv:own.csv?label=kind").digest


def test_parquet_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr("fedcompress.data.datasets.parquet.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"own\.parquet' needs an extra: pip install \"fedcompress\[parquet\]\""):
        load_dataset("parquet:own.parquet")


BAD: dict[str, tuple[Callable[[], Any], str, str]] = {
    "absent": (lambda: None, "csv:none.csv", "is not here: looked for 'none.csv'"),
    "no label": (
        lambda: table().to_csv("own.csv", index=False),
        "csv:own.csv",
        r"none called label, labels, .*; say which",
    ),
    "no such column": (
        lambda: table().to_csv("own.csv", index=False),
        "csv:own.csv?label=kindd",
        "label=kindd, but there is no such column. Did you mean 'kind'",
    ),
    "words": (
        lambda: table().assign(city="Ulm").to_csv("own.csv", index=False),
        "csv:own.csv?label=kind",
        "columns city hold no numbers; leave them out with drop=city",
    ),
    "empty cells": (
        lambda: table().assign(c=[None] + [1.0] * 39).to_csv("own.csv", index=False),
        "csv:own.csv?label=kind",
        "columns c have empty cells",
    ),
    "an example of nobody": (
        lambda: table().assign(user=[None] + ["u1"] * 39).to_csv("own.csv", index=False),
        "csv:own.csv?label=kind&client=user",
        "column 'user' says of 1 rows not whose they are; fill in a client",
    ),
    "a size with channels": (
        lambda: [picture(Path(f"own/{i % 2}/{i}.png"), i, size=4) for i in range(6)],
        "folder:own?size=4x4x3",
        "received size=4x4x3; expected pixels, as in size=28x28",
    ),
    "a regression": (
        lambda: table().to_csv("own.csv", index=False),
        "csv:own.csv?label=a&drop=kind",
        "expected classes",
    ),
    "numbers of rows": (
        lambda: table().to_csv("own.csv", index=False),
        "csv:own.csv?label=b&drop=kind",
        "'b' has 40 different labels in 32 training examples",
    ),
    "no table": (lambda: Path("own.csv").write_bytes(b"\xff\xfe\x00"), "csv:own.csv", "cannot be read"),
    "shape": (
        lambda: table().to_csv("own.csv", index=False),
        "csv:own.csv?label=kind&shape=4x4",
        "shape=4x4 has 16 values, but there are 2 columns",
    ),
    "sizes": (
        lambda: [picture(Path(f"own/{i % 2}/{i}.png"), i, size=4 + i) for i in range(6)],
        "folder:own",
        "images of 6 sizes .*; say to which they are to be scaled",
    ),
    "no images": (lambda: Path("own").mkdir(), "folder:own", "own holds no images; expected CLASS/IMAGE.png"),
    "a key": (lambda: None, "folder:own?sise=3", "received 'sise'; expected client, size"),
}


@pytest.mark.parametrize(("prepare", "name", "message"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_one_clear_line(prepare: Callable[[], Any], name: str, message: str) -> None:
    prepare()
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(name)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("x", "normalise", "said"),
    [
        (np.linspace(0, 255, 600).reshape(6, 10, 10), "none", ["images are floats from 0 to 255"]),
        (np.linspace(0, 1, 600).reshape(6, 10, 10), "none", []),
        (np.linspace(0, 255, 600).reshape(6, 10, 10), "train", []),
        (np.zeros((6, 3, 10, 10), np.uint8), "none", ["channels seem to come first"]),
        (np.zeros((6, 10, 10, 3), np.uint8), "none", []),
        (
            np.full((6, 10, 10), 16, np.uint8),
            "none",
            ["pixels are whole numbers up to 16, which models see as up to 0.063"],
        ),
        (np.full((6, 10, 10), 63, np.uint8), "none", ["whole numbers up to 63, which models see as up to 0.25; scale"]),
        (np.full((6, 10, 10), 64, np.uint8), "none", []),
        (np.full((6, 10, 10), 16, np.uint8), "train", []),
        (np.array([[1.0, 0.1], [2.0, 5000.0]] * 3), "none", ["features are not of one scale"]),
        (np.array([[1.0, 0.1], [2.0, 3.0]] * 3), "none", []),
        (np.array([[1.0, 0.1], [2.0, 5000.0]] * 3), "train", []),
    ],
)
def test_what_is_unusual_is_said(x: Any, normalise: str, said: list[str]) -> None:
    labels = np.arange(6) % 2
    found = list(notices(Dataset("own", x, labels, x, labels, 2), normalise))
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


def whose(count: int) -> dict[str, list[Any]]:
    """Returns labels, clients and images of 8 x 8 pixels: half of the examples are eva's, the rest kim's and max's."""
    names = [["eva", "kim", "eva", "max"][i % 4] for i in range(count)]
    return {
        "label": [i % 3 for i in range(count)],
        "user": names,
        "image": [np.full((8, 8), 5 * i, np.uint8) for i in range(count)],
    }


def as_table(monkeypatch: pytest.MonkeyPatch) -> str:
    rows = whose(48)
    pixels = {f"p{i}": [x.flat[i] for x in rows["image"]] for i in range(64)}
    split = ["train"] * 36 + ["test"] * 12
    pd.DataFrame({"label": rows["label"], "user": rows["user"], "split": split, **pixels}).to_csv("o.csv", index=False)
    return "csv:o.csv?client=user&shape=8x8"


def as_folders(monkeypatch: pytest.MonkeyPatch) -> str:
    for split, count in (("train", 36), ("test", 12)):
        rows = whose(count)
        for i, (label, user) in enumerate(zip(rows["label"], rows["user"], strict=True)):
            picture(Path(f"own/{split}/{user}/{label}/{i}.png"), 5 * i)
    return "folder:own?client=folder"


def as_at_hugging_face(monkeypatch: pytest.MonkeyPatch) -> str:
    """What the library would download is given to it."""

    class Library:
        @staticmethod
        def load_dataset(name: str) -> dict[str, FakeTable]:
            assert name == "me/own"
            return {"train": FakeTable(**whose(36)), "test": FakeTable(**whose(12))}

    monkeypatch.setattr(hf, "find_spec", lambda _: True)
    monkeypatch.setattr(hf, "import_module", lambda _: Library)
    return "hf:me/own?client=user"


@pytest.mark.parametrize("prepare", [as_table, as_folders, as_at_hugging_face])
def test_a_run_on_ones_own_data_with_a_client_for_each_person(
    call: Callable[..., Any], tiny_file: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[..., str]
) -> None:
    """18 of 36 examples are one person's, 9 each of the two others'; nothing is held back."""
    name = prepare(monkeypatch)
    settings = [f"data.dataset={name}", "data.partition=natural", "data.server_validation=0", "data.validation=0"]
    done = call("run", tiny_file, "--out", "out", *(w for s in (*settings, "rounds=1") for w in ("--set", s)))
    assert done.code == 0, done.err
    rows = RunDirectory(Path("out")).rows("clients")
    assert sorted(row["examples"] for row in rows) == [9, 9, 18]


def split_table() -> None:
    table().assign(split=["test" if i % 10 == 0 else "train" for i in range(40)]).to_csv("own.csv", index=False)


def images_table() -> None:
    for i in range(10):
        picture(Path(f"{i}.png"), i)
    rows = {"path": [f"{i}.png" for i in range(10)], "label": [i % 2 for i in range(10)], "p": range(10)}
    pd.DataFrame(rows).to_csv("own.csv", index=False)


WITHOUT_EFFECT: dict[str, tuple[Callable[[], Any], str, str]] = {
    "a column to drop": (
        split_table,
        "csv:own.csv?label=kind&drop=a,usr",
        "drop=usr, but there is no such column. Did",
    ),
    "a key twice": (split_table, "csv:own.csv?label=kind&drop=a&drop=b", "drop= 2 times; expected it once; .*drop=a,b"),
    "a folder's key twice": (images_table, "folder:own?size=3x3&size=4x4", "received size= 2 times; expected it once"),
    "what is dropped and used": (
        split_table,
        "csv:own.csv?label=kind&client=user&drop=user",
        "column 'user' is said by client= and by drop=; expected one",
    ),
    "two ways to split": (
        split_table,
        "csv:own.csv?label=kind&test=own.csv",
        "column 'split' says train or test, too; .*leave test= out, or drop=split",
    ),
    "a size without images": (
        split_table,
        "csv:own.csv?label=kind&size=2x2",
        r"size=2x2 scales images, but there is no column .* \(shape=2x2 is for pixels in columns\)",
    ),
    "a shape with images": (
        images_table,
        "csv:own.csv?shape=1x1",
        "shape=1x1 is for pixels in columns, but column 'path' holds paths of images; use size=1x1 .* or drop=path",
    ),
}


@pytest.mark.parametrize(("prepare", "name", "message"), WITHOUT_EFFECT.values(), ids=WITHOUT_EFFECT)
def test_what_would_have_no_effect_is_refused(prepare: Callable[[], Any], name: str, message: str) -> None:
    prepare()
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(name)
    assert len(caught.value.problems) == 1


def test_what_is_dropped_says_nothing() -> None:
    """A column that is called as one of clients, of a split or of images usually is, and is none."""
    split_table()
    data = load_dataset("csv:own.csv?label=kind&test=own.csv&drop=split,user")
    assert (data.client_ids, len(data.y_train), len(data.y_test)) == (None, 40, 40)
    images_table()
    assert load_dataset("csv:own.csv?drop=path&shape=1x1").x_train.shape == (8, 1, 1, 1)


def test_rows_with_a_field_more_than_the_header_are_refused() -> None:
    """As R's write.table writes them, and with a separator at the end: each column stood under its neighbour's name."""
    rows = "".join(f"{i},{i % 3},{i % 2},{i % 5},0\n" for i in range(60))
    Path("own.csv").write_text(f"id,label,a,b\n{rows}")
    with pytest.raises(InputError, match=r"own\.csv have 5 fields, the header has 4; .* R's .*row\.names = FALSE"):
        load_dataset("csv:own.csv?drop=id")
    Path("own.csv").write_text("id;label\n" + "".join(f"{i};{i % 3};\n" for i in range(60)))
    with pytest.raises(InputError, match=r"have 3 fields, the header has 2; .* no separator behind the last"):
        load_dataset("csv:own.csv")
    Path("own.csv").write_text('label,"a,\nb"\n\n' + "".join(f"{i % 3},{i}\n" for i in range(60)))
    assert load_dataset("csv:own.csv").x_train.shape == (48, 1)


def test_a_column_without_a_name_is_no_feature() -> None:
    """As pandas writes row numbers, which tell the classes of a table that is in their order."""
    table().sort_values("kind", ignore_index=True).to_csv("own.csv")
    with pytest.raises(InputError, match=r"a column has no name \(pandas calls it 'Unnamed: 0'\), .* index=False"):
        load_dataset("csv:own.csv?label=kind")
    assert load_dataset("csv:own.csv?label=kind&drop=Unnamed: 0").x_train.shape == (32, 2)


def labelled(labels: list[str], clients: list[str], count: int = 12) -> str:
    rows = [f"{labels[i % len(labels)]},{clients[i % len(clients)]},{i}\n" for i in range(count)]
    return "".join(["label,client,a\n", *rows])


def test_names_with_leading_zeros_are_the_same_in_both_tables() -> None:
    """The first table has a word among them, the second one not: there 01 became 1, another class and person."""
    Path("train.csv").write_text(labelled(["01", "02", "a3"], ["01", "02", "u3"]))
    Path("test.csv").write_text(labelled(["01", "02"], ["02", "01"]))
    data = load_dataset("csv:train.csv?test=test.csv")
    assert (data.classes, data.y_train[:4].tolist(), data.y_test[:3].tolist()) == (3, [0, 1, 2, 0], [0, 1, 0])
    assert data.people is not None
    assert data.test_client_ids is not None
    assert (data.people.tolist(), data.test_client_ids[:3].tolist()) == (["01", "02", "u3"], [1, 0, 1])


def test_numbers_are_the_same_however_they_are_written() -> None:
    """10 comes after 9; a table with 1.0 says what one with 1 does."""
    Path("train.csv").write_text(labelled(["9", "10"], ["1", "2"]))
    Path("test.csv").write_text(labelled(["9.0", "10.0"], ["2.0", "1.0"]))
    data = load_dataset("csv:train.csv?test=test.csv")
    assert (data.y_train[:2].tolist(), data.y_test[:2].tolist()) == ([0, 1], [0, 1])
    assert data.test_client_ids is not None
    assert data.test_client_ids[:2].tolist() == [1, 0]


@pytest.mark.parametrize("name", ["NA", "None", "null", "nan"])
def test_words_that_pandas_takes_for_nothing_are_words(name: str) -> None:
    Path("own.csv").write_text(labelled(["cat", name], [name, "eva", "max"]))
    data = load_dataset("csv:own.csv")
    assert data.people is not None
    assert (data.classes, name in data.people.tolist()) == (2, True)
    Path("own.csv").write_text(labelled(["cat", "dog"], ["", "eva", "max"]))
    with pytest.raises(InputError, match="column 'client' says of 4 rows not whose they are"):
        load_dataset("csv:own.csv")
    Path("own.csv").write_text(labelled(["cat", ""], ["eva"]))
    with pytest.raises(InputError, match="column 'label' is empty in 6 rows; expected a label in each"):
        load_dataset("csv:own.csv")
    Path("own.csv").write_text(f"label,a\ncat,{name}\ndog,2\ncat,1\ndog,3\n")
    with pytest.raises(InputError, match="columns a have empty cells"):
        load_dataset("csv:own.csv")


def test_columns_in_another_order_are_the_same_columns() -> None:
    table().to_csv("train.csv", index=False)
    table()[["user", "b", "kind", "a"]].to_csv("test.csv", index=False)
    data = load_dataset("csv:train.csv?label=kind&test=test.csv")
    assert np.array_equal(data.x_train, data.x_test)


def test_an_image_that_is_not_named() -> None:
    images_table()
    pd.DataFrame({"path": ["1.png", "", "3.png"], "label": [0, 1, 0]}).to_csv("own.csv", index=False)
    with pytest.raises(InputError, match="column 'path' is empty in 1 rows; expected an image in each"):
        load_dataset("csv:own.csv")


def test_a_folder_of_one_class_is_refused() -> None:
    """Its accuracy was 1."""
    for i in range(10):
        picture(Path(f"own/cat/{i}.png"), i)
    with pytest.raises(InputError, match="folder own has 1 different label in 8 training examples; expected at least"):
        load_dataset("folder:own")


def test_a_source_of_one_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers of Hugging Face, which are taken as they are."""
    as_at_hugging_face(monkeypatch)
    splits = {"train": FakeTable(image=[np.zeros((2, 2), np.uint8)] * 9, label=[0] * 9)}
    monkeypatch.setattr(hf, "import_module", lambda _: type("", (), {"load_dataset": lambda *_: splits}))
    with pytest.raises(InputError, match="Data set 'hf:me/own' has 1 class; expected at least two"):
        load_dataset("hf:me/own")


def test_classes_that_only_the_test_set_has_are_said() -> None:
    for i in range(8):
        picture(Path(f"own/train/{'cat' if i % 2 else 'ant'}/{i}.png"), i + 100)
        picture(Path(f"own/test/{'cat' if i % 2 else 'bee'}/{i}.png"), i + 100)
    said = "the test set has 1 class without a training example (1, counted from 0), which no model learns"
    assert [said in text for text in notices(load_dataset("folder:own"), "none")] == [True]


def redrawn(path: Path, value: int) -> None:
    """Of the same size in bytes, perhaps, and not in the same moment."""
    picture(path, value)
    os.utime(path, (1, value))


def test_images_that_are_replaced_are_read_anew() -> None:
    """The folder and the table are as they were; images are, too, as long as they are."""
    images_table()
    for name, paths in (
        (
            "folder:own?client=folder",
            [Path(f"own/{split}/{i % 3}/{i % 2}/{i}.png") for i in range(6) for split in SPLITS],
        ),
        ("csv:own.csv?drop=p", [Path(f"{i}.png") for i in range(10)]),
    ):
        for path in paths:
            redrawn(path, 7)
        before = load_dataset(name)
        assert load_dataset(name) is before
        redrawn(paths[0], 9)
        after = load_dataset(name)
        assert sorted({*after.x_train.flat, *after.x_test.flat}) == [7, 9]
        paths[-1].unlink()
        if name.startswith("csv"):
            with pytest.raises(InputError, match=r"image 9\.png cannot be read"):
                load_dataset(name)


LABELS: list[Any] = [
    (np.array(["cat", "dog"] * 3), np.arange(4) % 2, "y_train hold labels of <U3", "unique"),
    (np.arange(6) % 2 * 1.0, np.arange(4) % 2 * 1.0, "y_train and y_test hold labels of float64", "unique"),
    (np.eye(2)[[0, 1] * 3], np.eye(2)[[0, 1] * 2], r"y_train and y_test hold labels of float64, shape \(6, 2\)", "max"),
    (np.arange(6) % 2 + 1, np.arange(4) % 2 + 1, "has the labels 1, 2; expected every one of 0, 1, ...", "unique"),
]
ADVICE = {"unique": r"np\.unique\(y, return_inverse=True\)\[1\] of both", "max": r"y\.argmax\(axis=1\) of one-hot ones"}


@pytest.mark.parametrize(("y_train", "y_test", "message", "advice"), LABELS)
def test_labels_of_an_archive_that_are_no_classes_are_one_error(
    y_train: Any, y_test: Any, message: str, advice: str
) -> None:
    np.savez("own.npz", x_train=np.zeros((6, 2, 2)), y_train=y_train, x_test=np.zeros((4, 2, 2)), y_test=y_test)
    with pytest.raises(InputError, match=f"{message}.*{ADVICE[advice]}") as caught:
        load_dataset("npz:own.npz")
    assert len(caught.value.problems) == 1

"""Data with their people: FEMNIST's three forms, CIFAR-100's two, and the partition that follows who wrote what."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from fedcompress.data import cifar100_source
from fedcompress.data.dataset import CIFAR100, Dataset
from fedcompress.data.datasets import hf
from fedcompress.data.federated import federate
from fedcompress.data.loading import load_dataset, select_classes
from fedcompress.data.partition import Pool, divided
from fedcompress.data.partitions.feature import Feature
from fedcompress.data.partitions.natural import Natural, NaturalParams
from fedcompress.data.said import parted
from fedcompress.errors import InputError
from fedcompress.scenario.sections import DataSettings
from tests.data.test_sources import FakeTable

WRITERS = {"f0_1": [3, 61], "f0_2": [10]}
"""Labels of each writer's characters."""


def character(number: int) -> np.ndarray:
    """White, but for one dark pixel in row 2, at a column of its own, which is a little brighter each time."""
    image = np.ones((28, 28), np.float32)
    image[2, number] = number / 255
    return image


def written(order: dict[str, list[int]]) -> dict[str, list[np.ndarray]]:
    numbers = iter(range(10))
    return {writer: [character(next(numbers)) for _ in labels] for writer, labels in order.items()}


def leaf(folder: Path, order: dict[str, list[int]] = WRITERS) -> None:
    """As LEAF's preprocessing leaves it: a file of several users in each of train and test."""
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        data = {w: {"x": [i.ravel().tolist() for i in written(order)[w]], "y": order[w]} for w in order}
        table = {"users": list(order), "num_samples": list(map(len, order.values())), "user_data": data}
        (folder / part / f"all_data_0_niid_0_keep_0_{part}_9.json").write_text(json.dumps(table))


def tff(folder: Path, order: dict[str, list[int]] = WRITERS) -> None:
    for part in ("train", "test"):
        with h5py.File(folder / f"fed_emnist_{part}.h5", "w") as file:
            for writer, images in written(order).items():
                group = file.create_group(f"examples/{writer}")
                group["pixels"], group["label"] = np.stack(images), np.array(order[writer], np.int32)


def mat(folder: Path, order: dict[str, list[int]] = WRITERS) -> None:
    """Bright on black, and each image column by column."""
    images = np.stack([i for of in written(order).values() for i in of])
    columns = np.rint((1 - images) * 255).astype(np.uint8).transpose(0, 2, 1).reshape(-1, 784)
    labels, writers = (
        np.concatenate(list(order.values())),
        np.repeat(range(7, 7 + 2 * len(order), 2), list(map(len, order.values()))),
    )
    part = {"images": columns, "labels": labels[:, None], "writers": writers[:, None]}
    savemat(folder / "emnist-byclass.mat", {"dataset": {"train": part, "test": part, "mapping": np.zeros((62, 2))}})


@pytest.mark.parametrize("write", [leaf, tff, mat])
def test_femnist_is_the_same_in_each_of_its_forms(write: Any, tmp_path: Path) -> None:
    write(tmp_path)
    dataset = load_dataset("femnist", data_dir=tmp_path)
    assert (dataset.x_train.shape, dataset.x_train.dtype, dataset.classes) == ((3, 28, 28, 1), np.uint8, 62)
    assert dataset.y_train.tolist() == dataset.y_test.tolist() == [3, 61, 10]
    assert dataset.client_ids is not None
    assert dataset.client_ids.tolist() == [0, 0, 1]
    assert [dataset.x_train[i, 2, i, 0] for i in range(3)] == [255, 254, 253]
    assert np.count_nonzero(dataset.x_train) == 3


def test_femnist_that_is_absent_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"LEAF's folders train and test .* its idx files do not say who wrote what"):
        load_dataset("femnist", data_dir=tmp_path)
    leaf(tmp_path)
    (path,) = (tmp_path / "train").glob("*.json")
    for text in ('{"users": ["a"]}', "[", '{"users": ["a"], "user_data": {"a": {"x": [[1, 2]], "y": [1]}}}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"9\.json is damaged: .*expected LEAF's JSON"):
            load_dataset("femnist", data_dir=tmp_path)


def cifar(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, list[int], list[int]]]:
    """Images, fine and coarse labels of the two parts; image i is i everywhere, its first pixel's red is 200."""
    monkeypatch.setattr(cifar100_source, "SIZES", {"train": 3, "test": 2})
    parts = {}
    for name, size in cifar100_source.SIZES.items():
        images = np.tile(np.arange(size, dtype=np.uint8)[:, None], (1, 3072))
        images[:, 0] = 200
        parts[name] = images, [99, 5, 0][:size], [19, 1, 0][:size]
    return parts


def as_python(images: np.ndarray, fine: list[int], coarse: list[int]) -> bytes:
    return pickle.dumps({b"data": images, b"fine_labels": fine, b"coarse_labels": coarse, b"filenames": []}, protocol=2)


def as_binary(images: np.ndarray, fine: list[int], coarse: list[int]) -> bytes:
    return np.concatenate([np.array([coarse, fine], np.uint8).T, images], axis=1).tobytes()


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize(("form", "suffix"), [("python", ""), ("binary", ".bin")])
def test_cifar100(form: str, suffix: str, archived: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = as_python if form == "python" else as_binary
    contents = {f"cifar-100-{form}/{name}{suffix}": encode(*part) for name, part in cifar(monkeypatch).items()}
    if archived:
        with tarfile.open(tmp_path / f"cifar-100-{form}.tar.gz", "w:gz") as archive:
            for name, content in contents.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        (tmp_path / f"cifar-100-{form}").mkdir()
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
    fine, coarse = (load_dataset(name, data_dir=tmp_path) for name in ("cifar100", "cifar100-coarse"))
    assert (fine.y_train.tolist(), fine.y_test.tolist(), fine.classes) == ([99, 5, 0], [99, 5], 100)
    assert (coarse.y_train.tolist(), coarse.y_test.tolist(), coarse.classes) == ([19, 1, 0], [19, 1], 20)
    assert fine.x_train[1, 0, 0].tolist() == [200, 1, 1]
    assert fine.x_train[1, 0, 1].tolist() == [1, 1, 1]
    assert fine.published == CIFAR100
    if not archived:
        (tmp_path / f"cifar-100-{form}" / f"test{suffix}").write_bytes(b"short")
        with pytest.raises(InputError, match="is damaged"):
            load_dataset("cifar100", data_dir=tmp_path, classes=[0, 5])


def test_hugging_face_columns_and_splits_by_name() -> None:
    images = [np.zeros((2, 2), np.uint8)] * 3
    table = FakeTable(picture=images, kind=[0, 1, 1], writer_id=["b", "a", "b"], label=[0, 0, 0])
    repository, said = parted(
        "hf:x", "some/x?image=picture&label=kind&client=writer_id&train=first&test=second", hf.KEYS
    )
    assert repository == "some/x"
    dataset = hf.convert("hf:x", {"first": table, "second": table}, said)
    assert dataset.y_train.tolist() == [0, 1, 1]
    assert dataset.client_ids is not None
    assert dataset.client_ids.tolist() == [1, 0, 1]
    with pytest.raises(
        InputError, match=r"received 'labels'; expected image, label, client, train, test, config, size"
    ):
        parted("hf:x", "x?labels=a", hf.KEYS)
    with pytest.raises(InputError, match=r"has the columns .*; expected one of who"):
        hf.convert("hf:x", {"train": table, "test": table}, {"image": "picture", "client": "who"})


def test_npz_may_call_the_people_client_train(tmp_path: Path) -> None:
    arrays = {"x_train": np.zeros((4, 2, 2), np.uint8), "y_train": [0, 1, 0, 1]}
    arrays |= {"x_test": np.zeros((2, 2, 2), np.uint8), "y_test": [0, 1], "client_train": [5, 5, 3, 3]}
    np.savez(tmp_path / "a.npz", **arrays)
    ids = load_dataset(f"npz:{tmp_path}/a.npz").client_ids
    assert ids is not None
    assert ids.tolist() == [1, 1, 0, 0]
    np.savez(tmp_path / "b.npz", **arrays, client_ids=[1, 1, 2, 2])
    with pytest.raises(InputError, match="arrays client_ids and client_train; expected one of them"):
        load_dataset(f"npz:{tmp_path}/b.npz")


def pool(sizes: list[int]) -> Pool:
    """Examples of people with so many each, shuffled."""
    ids = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    x, y = np.zeros((len(ids), 2), np.float32), np.arange(len(ids)) % 2
    return Pool(Dataset("people", x, y, x[:2], y[:2], 2, ids), np.arange(len(ids)))


def natural(clients: int, few: str = "merge", minimum: int = 5) -> Natural:
    return Natural(NaturalParams(few=few), DataSettings(clients=clients, partition="natural", minimum=minimum))


def people_of(partition: Natural, of: Pool) -> list[set[int]]:
    assert of.client_ids is not None
    return [set(of.client_ids[p].tolist()) for p in divided(partition, "natural", of, np.random.default_rng(3))]


def test_a_client_is_a_person_and_nobody_is_at_two() -> None:
    assert people_of(natural(3), pool([5, 7, 9])) == [{0}, {1}, {2}]


def test_people_with_few_examples_are_merged_or_dropped_and_that_is_said() -> None:
    """2 + 2 + 2 reach the minimum of 5 together; the 1 is left over and joins them, unless it comes before."""
    of = pool([8, 2, 2, 2, 1, 9])
    merged = people_of(natural(3), of)
    assert sorted(map(len, merged)) == [1, 1, 4]
    assert {1, 2, 3, 4} in merged
    assert people_of(natural(2, "drop"), of) == [{0}, {5}]
    assert list(natural(3).notes(of))[:-1] == [
        "data.partition: 4 of 6 people have fewer than 5 examples and are merged with each other."
    ]
    assert list(natural(1, "drop").notes(of))[:-1] == [
        "data.partition: 4 of 6 people have fewer than 5 examples and are dropped.",
        "data.partition: 1 clients are drawn from 6 people; others are left out.",
    ]


def test_whose_examples_a_client_holds_is_known_by_name() -> None:
    """Also of the classes that are kept; not where somebody's examples are at two clients."""
    names = np.repeat(["zoe", "ann", "bob"], 20)
    labels = np.arange(60) % 2
    labels[40:] = 2  # bob has one class alone
    data = Dataset("x", np.zeros((60, 2)), labels, np.zeros((3, 2)), np.arange(3), 3, names)
    assert data.people is not None and data.people.tolist() == ["ann", "bob", "zoe"]
    kept = select_classes(data, [0, 1])
    assert kept.people is not None and kept.people.tolist() == ["ann", "zoe"]
    settings = DataSettings(clients=3, partition="natural", minimum=2, server_validation=0.0)
    federated = federate(data, Natural(NaturalParams(), settings), seed=1)
    assert federated.people is not None and sorted(federated.people) == [["ann"], ["bob"], ["zoe"]]
    for client, (name,) in enumerate(federated.people):
        assert set(names[federated.train_parts[client]]) == {name}
    shared = replace(federated, train_parts=(np.arange(30), np.arange(30, 60)), validation_parts=(np.arange(0),) * 2)
    assert shared.people is None


def test_more_people_than_clients_are_drawn_from_and_fewer_are_refused() -> None:
    of = pool([6] * 9)
    drawn = people_of(natural(4), of)
    assert len(set.union(*drawn)) == 4
    with pytest.raises(InputError, match=r"data.clients: received 10, but partition natural has 9 with at least 5"):
        people_of(natural(10), pool([6] * 9))
    nobodys = Pool(Dataset("x", np.zeros((9, 2)), np.arange(9) % 2, np.zeros((2, 2)), np.arange(2), 2), np.arange(9))
    with pytest.raises(InputError, match="partition natural: needs a data set that says whose each example is"):
        divided(natural(1), "natural", nobodys, np.random.default_rng(3))


def people(sizes: tuple[int, ...], **more: Any) -> Dataset:
    """So many training examples of each person, and three test examples of each of persons 1, 2 and of a stranger."""
    ids = np.repeat(np.arange(len(sizes)), sizes)
    x, y = np.zeros((len(ids), 2), np.float32), np.arange(len(ids)) % 2
    test = np.repeat([1, 2, 77], 3)
    return Dataset("people", x, y, np.zeros((9, 2), np.float32), np.arange(9) % 2, 2, ids, test_client_ids=test, **more)


def test_people_are_tested_on_their_own_examples() -> None:
    """Person 0 has none, and is tested on its label mix, on any of the nine."""
    dataset = people((8, 8, 8))
    assert dataset.test_client_ids is not None
    assert dataset.test_client_ids.tolist() == [1, 1, 1, 2, 2, 2, -1, -1, -1]
    data = federate(dataset, natural(3), seed=1)
    assert [data.test_part(client).tolist() for client in (1, 2)] == [[0, 1, 2], [3, 4, 5]]
    assert len(data.test_part(0)) > 3
    limited = federate(dataset, natural(3), seed=1, test_limit=2)
    assert len(limited.test_part(1)) == 2 and set(limited.test_part(1)) <= {0, 1, 2}


def test_people_without_test_examples_of_their_own_are_said() -> None:
    dataset = people((8, 8, 8))
    silent = Dataset("people", dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test, 2, dataset.client_ids)
    text = "data.partition: the data set does not say whose each test example is: clients are tested on their label mix"
    assert any(note.startswith(text) for note in federate(silent, natural(3), seed=1).notes)
    assert not any(note.startswith(text) for note in federate(dataset, natural(3), seed=1).notes)


def test_whose_test_examples_are_survives_a_choice_of_classes() -> None:
    chosen = select_classes(people((8, 8, 8)), [1, 0])
    assert chosen.test_client_ids is not None
    assert chosen.test_client_ids.tolist() == [1, 1, 1, 2, 2, 2, -1, -1, -1]


@pytest.mark.parametrize("ids", [[1, 2], ["a"] * 9])
def test_whose_test_examples_are_has_to_fit(ids: list[Any]) -> None:
    plain = people((8, 8, 8))
    arrays = (plain.x_train, plain.y_train, plain.x_test, plain.y_test, 2)
    with pytest.raises(
        InputError, match=r"test_client_ids are .* expected what client_ids are, one for each test example"
    ):
        Dataset("people", *arrays, plain.client_ids, test_client_ids=np.array(ids))


def test_npz_may_say_whose_test_examples_are(tmp_path: Path) -> None:
    plain = people((8, 8, 8))
    arrays = {name: getattr(plain, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "a.npz", **arrays, client_train=plain.client_ids, client_test=np.repeat([1, 2, 77], 3))
    loaded = load_dataset(f"npz:{tmp_path}/a.npz").test_client_ids
    assert loaded is not None and loaded.tolist() == [1, 1, 1, 2, 2, 2, -1, -1, -1]
    np.savez(tmp_path / "b.npz", **arrays, client_test=np.repeat([1, 2, 77], 3))
    with pytest.raises(InputError, match="has the array client_test, but not client_ids or client_train"):
        load_dataset(f"npz:{tmp_path}/b.npz")


def test_clients_that_differ_in_brightness_are_tested_on_as_bright_examples() -> None:
    """Two clients, of dark and of bright examples; the test set has both, in each class."""
    bright = np.tile(np.repeat([10, 200], 20), 2).astype(np.uint8)
    x, y = np.broadcast_to(bright[:, None, None, None], (80, 2, 2, 1)), np.repeat([0, 1], 40)
    dataset = Dataset("shades", x, y, x[::2], y[::2], 2)
    settings = DataSettings(clients=2, partition="feature", alpha=1e-9, server_validation=0.0)
    data = federate(dataset, Feature(Feature.Params(), settings), seed=1)
    for client, shade in enumerate((10, 200)):
        assert set(np.unique(data.train(client).x)) == set(np.unique(data.test(client).x)) == {shade}
        assert np.bincount(data.test(client).y).tolist() == [10, 10]

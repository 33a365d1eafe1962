"""Downloads, without a network: the address is opened by a stand-in."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from fedcompress.data import fetch
from fedcompress.data.dataset import DataRoots
from fedcompress.data.datasets.mnist import Mnist
from fedcompress.data.loading import load_dataset, unavailable
from fedcompress.errors import InputError

CONTENT = b"content"
REMOTE = fetch.Remote("https://example.org/folder/file.bin", sha256(CONTENT).hexdigest())
ABSENT = InputError("It is not here.")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that were opened; each answers `CONTENT`."""
    addresses: list[str] = []

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        assert timeout == 30
        addresses.append(url)
        return io.BytesIO(CONTENT)

    monkeypatch.setattr(fetch, "urlopen", urlopen)
    return addresses


def online(tmp_path: Path) -> DataRoots:
    return replace(DataRoots(), cache=tmp_path / "cache", offline=False)


def test_downloads_once(tmp_path: Path, opened: list[str]) -> None:
    for _ in range(2):
        fetch.fetch([REMOTE], tmp_path / "new/folder", online(tmp_path), ABSENT)
    assert opened == [REMOTE.url]
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["file.bin"]
    assert (tmp_path / "new/folder/file.bin").read_bytes() == CONTENT


@pytest.mark.usefixtures("opened")
def test_another_content_leaves_nothing(tmp_path: Path) -> None:
    wrong = replace(REMOTE, sha256="0" * 64)
    with pytest.raises(
        InputError, match=r"It is not here\. Downloading https.* failed: its SHA-256 is .*, expected 0000"
    ):
        fetch.fetch([wrong], tmp_path, online(tmp_path), ABSENT)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def urlopen(url: str, timeout: float) -> io.BytesIO:
        raise TimeoutError("timed out")

    monkeypatch.setattr(fetch, "urlopen", urlopen)
    with pytest.raises(InputError, match=r"It is not here. Downloading .* failed: timed out\."):
        fetch.fetch([REMOTE], tmp_path, online(tmp_path), ABSENT)
    assert list(tmp_path.iterdir()) == []


def test_offline_opens_nothing(tmp_path: Path, opened: list[str]) -> None:
    with pytest.raises(InputError, match=r"It is not here\. Nothing was downloaded"):
        fetch.fetch([REMOTE], tmp_path, DataRoots(), ABSENT)
    assert opened == []


def test_looking_does_not_download(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCOMPRESS_OFFLINE", "")
    assert "Get it with: --data-dir DIR" in (unavailable("mnist") or "")
    assert unavailable("npz") == "npz:FILE depends on its FILE."
    assert opened == []


def test_mnist_is_downloaded_and_then_found(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, write_idx: Callable[..., Path]
) -> None:
    monkeypatch.delenv("FEDCOMPRESS_OFFLINE")
    write_idx(tmp_path)
    contents = {remote.url: (tmp_path / remote.file).read_bytes() for remote in Mnist.remotes}
    remotes = tuple(fetch.Remote(url, sha256(content).hexdigest()) for url, content in contents.items())
    monkeypatch.setattr(Mnist, "remotes", remotes)
    monkeypatch.setattr(fetch, "urlopen", lambda url, timeout: io.BytesIO(contents[url]))
    first = load_dataset("mnist")
    assert len(list((home / ".cache/fedcompress/mnist").iterdir())) == 4
    monkeypatch.setenv("FEDCOMPRESS_OFFLINE", "1")
    assert load_dataset("mnist").digest == first.digest

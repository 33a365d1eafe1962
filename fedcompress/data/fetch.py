"""Downloads a data set's files into the user's cache: verified, and never half a file."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from ..errors import InputError
from .dataset import DataRoots

TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""

CHUNK = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """A file to download: its address and the SHA-256 of its content."""

    url: str
    sha256: str

    @property
    def file(self) -> str:
        """Its name in a folder."""
        return self.url.rsplit("/", 1)[-1]


def not_found(name: str, wanted: str, folders: Iterable[Path], install: str) -> InputError:
    """Returns the error for a data set that is nowhere.

    Args:
        name: The data set.
        wanted: What was looked for.
        folders: Where it was looked for; of a folder and its subfolders, the message names the folder.
        install: How to get it.
    """
    listed = list(dict.fromkeys(folders))
    roots = [folder for folder in listed if not set(folder.parents) & set(listed)]
    places = ", ".join(map(str, roots))
    return InputError(f"Data set {name!r} is not here: looked for {wanted} in {places}. Get it with: {install}.")


def fetch(files: Sequence[Remote], folder: Path, roots: DataRoots, absent: InputError) -> None:
    """Downloads the files that `folder` does not have yet.

    Args:
        files: What to download.
        folder: Destination; created if needed.
        roots: Says whether downloading is allowed.
        absent: Error to complete and raise when it is not, or when it fails.

    Raises:
        InputError: Downloads are off, or one failed; `absent` with the reason.
    """
    if roots.offline:
        raise InputError(
            f"{absent} Nothing was downloaded: only a command that needs the data does that, and not if "
            "FEDCOMPRESS_OFFLINE is set."
        )
    for remote in files:
        target = folder / remote.file
        if target.is_file():
            continue
        _log.info("downloading %s to %s", remote.url, folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _download(remote, target)
        except (URLError, HTTPException, OSError, ValueError) as error:
            raise InputError(f"{absent} Downloading {remote.url} failed: {error}.") from error


def _download(remote: Remote, target: Path) -> None:
    """Downloads under a temporary name, so that a file with its own name is always complete and verified."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    digest = sha256()
    try:
        with os.fdopen(handle, "wb") as out, urlopen(remote.url, timeout=TIMEOUT) as response:
            while chunk := response.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != remote.sha256:
            raise ValueError(f"its SHA-256 is {digest.hexdigest()}, expected {remote.sha256}")
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)

"""The run directory: plain files, written after every round, readable without fedcompress."""

from __future__ import annotations

import fcntl
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedcompress.errors import InputError

ROWS = ("rounds", "clients", "ledger")


class RunDirectory:
    """One run on disk; see the README for the files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, scenario: str, provenance: Mapping[str, Any]) -> RunDirectory:
        """Makes a new run directory.

        Args:
            path: Has to be absent or empty.
            scenario: The resolved scenario as TOML.
            provenance: What the run was made with.

        Raises:
            InputError: The directory is in use or cannot be written.
        """
        directory = cls.made(path)
        try:
            for name in ROWS:
                (path / f"{name}.jsonl").touch()
            directory.write_text("scenario.toml", scenario)
            directory.write_json("provenance.json", provenance)  # the last one: with it, the run has begun
        except OSError as error:
            raise InputError(f"--out {path}: cannot be written: {error.strerror}.") from None
        return directory

    @classmethod
    def made(cls, path: Path) -> RunDirectory:
        """Makes an empty directory.

        Raises:
            InputError: It is in use or cannot be written.
        """
        check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {path}: cannot be written: {error.strerror}.") from None
        return cls(path)

    @property
    def begun(self) -> bool:
        """Whether the directory of a run was made in full, so that it can be resumed."""
        return (self.path / "provenance.json").exists()

    def clear_unbegun(self) -> None:
        """Removes what is left of a run that was killed while its directory was being made: files of ours alone."""
        if not self.begun:
            for name in (
                "scenario.toml",
                ".scenario.toml.part",
                ".provenance.json.part",
                *map("{}.jsonl".format, ROWS),
            ):
                (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from writing the same run; the lock ends with this process, however it ends.

        Raises:
            InputError: Another process is writing it.
        """
        with (self.path / "rounds.jsonl").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"{self.path}: another process is running this run; wait for it, or end it.") from None
            yield

    def append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends rows to `rounds`, `clients` or `ledger`."""
        text = "".join(json.dumps(finite(row)) + "\n" for row in rows)
        with (self.path / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(text)

    @property
    def status(self) -> str | None:
        """How the run ended: completed, failed, interrupted; None while it runs, or if it was killed."""
        if not (self.path / "summary.json").exists():
            return None
        return str(self.read_json("summary.json").get("status", "damaged"))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Returns the rows of `rounds`, `clients` or `ledger`."""
        text = (self.path / f"{name}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def write_json(self, name: str, table: Mapping[str, Any]) -> None:
        """Writes a JSON file in one step: it is there whole or not at all."""
        self.write_text(name, json.dumps(finite(table), indent=2) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Returns a JSON file.

        Raises:
            InputError: It is absent or damaged.
        """
        path = self.path / name
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error}); expected the directory of a run.") from None
        if not isinstance(table, dict):
            raise InputError(f"{path}: holds no table; expected the directory of a run.")
        return table

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file in one step."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        temporary = (self.path / name).with_name(f".{Path(name).name}.part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.path / name)


def directory_name(label: str) -> str:
    """Returns the name of a sweep's run as the name of its directory."""
    return re.sub(r"[^\w.-]+", "-", label)


def check_free(path: Path) -> None:
    """Raises InputError if a run cannot be written to `path`."""
    if path.is_file():
        raise InputError(f"--out {path}: is a file; name a directory that is new or empty.")
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"--out {path}: is in use; name a directory that is new or empty.")


def finite(value: Any) -> Any:
    """Replaces NaN and infinity, which JSON does not have, by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value

"""The run directory: plain files, written after every round, readable without fedcompress."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from unicodedata import normalize

from fedcompress.errors import InputError
from fedcompress.files import irregular, open_to_read, part_name, read_text, write_text
from fedcompress.rows import Summary

ROWS = ("rounds", "clients", "ledger")
_RUN = (*(f"{name}.jsonl" for name in ROWS), "scenario.toml", "provenance.json")
_SWEEP = ("options.json", "scenario.toml")
_RECIPE = ("options.json", "provenance.json", "recipe.toml")
_GENERATOR = ("options.json", "provenance.json", "generator.toml")
_DISTILL = ("options.json", "provenance.json", "distill.json")
_MAKINGS = (_RUN, _SWEEP, _RECIPE, _GENERATOR, _DISTILL)
"""The first files of a run, a sweep, a recipe, a chain of `generate`, a comparison of `distill`, in the order in which
they get their names."""


class RunDirectory:
    """One run on disk; its files are listed in `docs/reference/run-directory.md`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, scenario: str, provenance: Mapping[str, Any]) -> RunDirectory:
        """Makes the directory of a new run.

        Args:
            path: Has to be absent or empty, or that of a run which was killed while it was being made.
            scenario: The resolved scenario as TOML.
            provenance: What the run was made with.

        Raises:
            InputError: The directory is in use or cannot be written.
        """
        texts = (*("" for _ in ROWS), scenario, as_json(provenance))
        return cls.made(path, dict(zip(_RUN, texts, strict=True)))

    @classmethod
    def made(cls, path: Path, files: Mapping[str, str] | None = None) -> RunDirectory:
        """Makes a directory with its first files: `_RUN`, `_SWEEP` or `_RECIPE`. With the last of them, it has begun.

        All are written under other names before the first gets its own; so a process that is killed leaves what
        `finish_making` completes, or what the next call clears away.

        Raises:
            InputError: It is in use or cannot be written.
        """
        check_free(path)
        directory = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with directory._being_made():
                check_free(path)
                directory.clear_unbegun()
                for name, text in (files or {}).items():
                    (path / part_name(name)).write_text(text, encoding="utf-8")
                for name in files or {}:
                    (path / part_name(name)).replace(path / name)
        except (OSError, ValueError) as error:  # the latter of a name that no file can have
            raise InputError(f"--out {path}: cannot be written: {getattr(error, 'strerror', error)}.") from None
        return directory

    @contextmanager
    def _being_made(self) -> Iterator[None]:
        """Keeps other processes from making the same directory; the lock ends with this process, however it ends."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            with suppress(OSError):  # a file system may lock no directories
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    text = f"--out {self.path}: is in use: another process has just begun there."
                    raise InputError(text) from None
            yield
        finally:
            os.close(descriptor)

    @property
    def begun(self) -> bool:
        """Whether the directory of a run was made in full, so that it can be resumed."""
        return (self.path / "provenance.json").exists()

    @property
    def unbegun(self) -> bool:
        """Whether the directory holds nothing but what is left of making it: the process was killed meanwhile."""
        return self._broken_off() is not None

    def finish_making(self) -> None:
        """Completes a directory whose making was broken off after its first files were all written.

        Raises:
            InputError: Another process is making it right now.
        """
        names = self._broken_off()
        if names is None or not any((self.path / name).exists() for name in names):
            return
        with self._being_made():
            for name in names:
                if (self.path / part_name(name)).exists():
                    (self.path / part_name(name)).replace(self.path / name)

    def clear_unbegun(self) -> None:
        """Removes what is left of making a directory, if that was broken off: files of ours alone."""
        for name in self._broken_off() or ():
            (self.path / name).unlink(missing_ok=True)
            (self.path / part_name(name)).unlink(missing_ok=True)

    def _broken_off(self) -> tuple[str, ...] | None:
        """Returns the files that were being made here, if there is nothing else and the last has not got its name."""
        present = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
        for names in _MAKINGS:
            parts = set(map(part_name, names))
            if present & parts and present <= parts | set(names[:-1]):
                return names
        rows = set(_RUN[: len(ROWS)])  # of a version that gave names one by one, these first
        if (
            present & rows
            and present <= set(_RUN[:-1])
            and not any((self.path / r).stat().st_size for r in present & rows)
        ):
            return _RUN
        return None

    @contextmanager
    def locked(self, by: str = "rounds.jsonl") -> Iterator[None]:
        """Keeps other processes from writing the same run; the lock ends with this process, however it ends.

        Args:
            by: A file of it that no process replaces.

        Raises:
            InputError: Another process is writing it, or the file cannot be read.
        """
        path = self.path / by
        try:
            file = open_to_read(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}; put it back, or start a new run.") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"{self.path}: another process is running this run; wait for it, or end it.") from None
            yield

    def append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends rows to `rounds`, `clients` or `ledger`."""
        text = as_lines(rows)
        with (self.path / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(text)

    @property
    def status(self) -> str | None:
        """How the run ended: completed, failed, interrupted; None while it runs, or if it was killed."""
        if not (self.path / "summary.json").exists():
            return None
        return str(self.summary.get("status", "damaged"))

    @property
    def summary(self) -> Summary:
        """`summary.json`.

        Raises:
            InputError: It is absent or damaged.
        """
        return cast(Summary, self.read_json("summary.json"))

    def rows(self, name: str) -> list[Any]:
        """Returns the rows of `rounds`, `clients` or `ledger`."""
        text = (self.path / f"{name}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def write_json(self, name: str, table: Mapping[str, Any]) -> None:
        """Writes a JSON file in one step: it is there whole or not at all."""
        self.write_text(name, as_json(table))

    def read_json(self, name: str) -> dict[str, Any]:
        """Returns a JSON file.

        Raises:
            InputError: It is absent or damaged.
        """
        path = self.path / name
        try:
            table = json.loads(read_text(path))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read ({error}); expected the directory of a run.") from None
        if not isinstance(table, dict):
            raise InputError(f"{path}: holds no table; expected the directory of a run.")
        return table

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file in one step."""
        write_text(self.path / name, text)


def as_json(table: Mapping[str, Any]) -> str:
    """Returns a table as the text of a JSON file."""
    return json.dumps(finite(table), indent=2) + "\n"


def as_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns rows as the text of a file of JSON lines."""
    return "".join(_as_line(row) + "\n" for row in rows)


def _as_line(row: Mapping[str, Any]) -> str:
    try:
        return json.dumps(row, allow_nan=False)
    except (TypeError, ValueError):  # few rows hold what is not finite, and looking for it takes longer than writing
        return json.dumps(finite(row))


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Returns these columns of some rows as the text of a CSV file; of NaN and infinity, nothing, as if read back."""
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(finite, rows))
    return lines.getvalue()


def directory_name(label: str) -> str:
    """Returns the name of a sweep's run as the name of its directory, where no other run of the sweep has the same."""
    return re.sub(r"[^\w.-]+", "-", label)


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Returns name -> what its file or directory is called: as `directory_name` says, and different for each.

    Those that would fall together end in a digest of the name, also where a file system takes upper and lower case, or
    composed and decomposed characters, for the same.
    """
    plain = {name: directory_name(name) for name in names}
    alike = Counter(map(_folded, plain.values()))
    return {
        name: file if alike[_folded(file)] == 1 else f"{file}-{sha256(name.encode()).hexdigest()[:8]}"
        for name, file in plain.items()
    }


def _folded(name: str) -> str:
    return normalize("NFC", normalize("NFC", name).casefold())


def check_free(path: Path) -> None:
    """Raises InputError if a run cannot be written to `path`."""
    try:
        kind = "a file" if path.is_file() else irregular(path)
        if kind not in (None, "a directory"):
            raise InputError(f"--out {path}: is {kind}; name a directory that is new or empty.")
        if kind is not None and any(path.iterdir()) and not RunDirectory(path).unbegun:
            raise InputError(f"--out {path}: is in use; name a directory that is new or empty.")
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written: {error.strerror}.") from None


def finite(value: Any) -> Any:
    """Replaces NaN and infinity, which JSON does not have, by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value

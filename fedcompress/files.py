"""Files that a user names: read where they are regular files, and written in one step, never in place of a device."""

from __future__ import annotations

import errno
import os
import stat
from hashlib import sha256
from io import BufferedReader, TextIOWrapper
from pathlib import Path

from fedcompress.errors import InputError

MOST_BYTES_OF_NAME = 255
"""What Linux' and macOS' file systems hold."""
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def irregular(path: Path) -> str | None:
    """Returns what a path leads to if that is not a regular file, as in "a pipe"; None if it is, or is absent."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def is_file(path: Path) -> bool:
    """Says whether a path leads to a regular file; one that no file can have does not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Returns the text of a file.

    Raises:
        OSError: It cannot be read, or is something that may have no end: a pipe, a device.
        UnicodeDecodeError: It is no text.
    """
    with open_to_read(path) as file:
        return TextIOWrapper(file, encoding=encoding).read()


def open_to_read(path: Path) -> BufferedReader:
    """Opens a file for reading bytes.

    Raises:
        OSError: It cannot be read, or is something that may have no end: a pipe, a device.
    """
    kind = irregular(path)
    if kind not in (None, "a directory"):  # opening a directory says so itself
        raise OSError(errno.EINVAL, f"it is {kind}", str(path))
    return path.open("rb")


def check_output(path: Path, option: str) -> None:
    """Raises InputError if a file cannot be written there because something else is, or because of its name."""
    if kind := irregular(path):
        raise InputError(f"{option} {path}: is {kind}; name a file that is new or a regular one.")
    if len(os.fsencode(path.name)) > MOST_BYTES_OF_NAME:
        raise InputError(f"{option} {path}: has a name of more than {MOST_BYTES_OF_NAME} bytes; name a shorter one.")


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one step: it is there whole, or as it was. Links are followed, folders made.

    Raises:
        OSError: It cannot be written, or something else than a regular file is there.
    """
    if kind := irregular(path):
        raise OSError(errno.EINVAL, f"it is {kind}", str(path))
    target = path.resolve() if path.is_symlink() else path
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(part_name(target.name))
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(target)


def part_name(name: str) -> str:
    """Returns the name under which a file is written before it gets its own."""
    return f".{shortened(name, MOST_BYTES_OF_NAME - len('..part'))}.part"


def shortened(name: str, most: int) -> str:
    """Returns a name of at most so many bytes of UTF-8: a longer one is cut, and ends in its digest."""
    encoded = os.fsencode(name)
    if len(encoded) <= most:
        return name
    return f"{encoded[: most - 9].decode(errors='ignore')}-{sha256(encoded).hexdigest()[:8]}"

"""What a user says behind the name of a data set, as in an address: `csv:FILE?label=kind&client=user`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from ..errors import InputError
from .dataset import DataRoots
from .fetch import not_found


def parted(name: str, argument: str, keys: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Returns what stands before the question mark, and what is said behind it.

    Raises:
        InputError: It says something else than `keys`, or one of them twice.
    """
    plain, _, query = argument.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    said = dict(pairs)
    if unknown := sorted(set(said) - set(keys)) or [key for key, value in said.items() if not value]:
        raise InputError(f"Data set {name!r}: received {unknown[0]!r}; expected {', '.join(keys)}, each with a value.")
    if len(said) < len(pairs):
        key, count = Counter(key for key, _ in pairs).most_common(1)[0]
        several = f"; several columns are {key}=a,b" if key == "drop" else ""
        raise InputError(f"Data set {name!r}: received {key}= {count} times; expected it once{several}.")
    return plain, said


def found(name: str, path: str, roots: DataRoots, is_there: Callable[[Path], bool], advice: str) -> Path:
    """Returns a file or folder of the user: from the current folder, or from those where data sets are looked for.

    Raises:
        InputError: It is in none of them.
    """
    folders = [Path(), *roots.given]
    for folder in folders:
        if is_there(place := folder / Path(path).expanduser()):
            return place
    raise not_found(name, repr(path), [folder.resolve() for folder in folders], advice)


def lengths(name: str, key: str, text: str, most: int = 2) -> tuple[int, ...]:
    """Returns `28x28` as numbers.

    Args:
        name: Of the data set, for messages.
        key: As in front of the text.
        text: What is said.
        most: Numbers, 2 or 3: with 3, channels may be said as well.

    Raises:
        InputError: It is something else.
    """
    parts = text.lower().split("x")
    if not 2 <= len(parts) <= most or not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(f"Data set {name!r}: received {key}={text}; expected pixels, as in {key}=28x28.")
    return tuple(map(int, parts))

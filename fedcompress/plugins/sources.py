"""The code that plug-ins consist of: read once, imported as it was read, and covered by the digest."""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from pathlib import Path

from fedcompress.files import is_file

_SHIPPED = {"fedcompress", "clients", "strategies"}
"""Packages of this distribution, whose version and commit a run records."""


def read_modules(root: Path) -> dict[str, bytes]:
    """Returns the text of all modules of a `--plugins` folder, by their path within it."""
    return {str(path.relative_to(root)): path.read_bytes() for path in _python_files(root)}


def _python_files(folder: Path) -> list[Path]:
    """Returns all files of Python in a folder; no folders, pipes and links to nowhere, which may be called so, too."""
    return [path for path in sorted(folder.rglob("*.py")) if is_file(path)]


class TextLoader(SourceLoader):
    """Imports a text that was read before, so that what runs is what the digest is of, on any machine."""

    def __init__(self, path: Path, text: bytes) -> None:
        self._path, self._text = str(path), text

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: bytes | str) -> bytes:
        """Returns the text; there are no other files, so that none is compiled into the user's folder either."""
        if path != self._path:
            raise FileNotFoundError(path)
        return self._text


def sources(modules: Iterable[str]) -> dict[str, bytes]:
    """Returns the files that importable plug-ins are made of, by their path below the folder that they are found in.

    They are those of each module's whole top-level package, and of the modules and packages beside it that it imports:
    the helpers of a project. Of an installed package, what is installed beside it is none of those.
    """
    files: dict[str, bytes] = {}
    waiting, seen = [name.partition(".")[0] for name in modules], set(_SHIPPED)
    roots: set[Path] = set()
    while waiting:
        top = waiting.pop()
        for root, path in _files_of(top) if top not in seen else ():
            text = path.read_bytes()
            files[str(path.relative_to(root))] = text
            if root not in _installed():
                roots.add(root)
                waiting += [name for name in _imports(text) if name not in seen and _root_of(name) in roots]
        seen.add(top)
    return files


def _files_of(top: str) -> Iterator[tuple[Path, Path]]:
    """Yields (folder that the import system finds it in, file) of all files of a top-level module or package."""
    spec = spec_of(top)
    for place in map(Path, (spec.submodule_search_locations or ()) if spec else ()):
        yield from ((place.parent, path) for path in _python_files(place))
    if spec and spec.submodule_search_locations is None and spec.has_location and Path(str(spec.origin)).is_file():
        yield Path(str(spec.origin)).parent, Path(str(spec.origin))


def _root_of(top: str) -> Path | None:
    """Returns the folder in which the import system finds a top-level module; None for a built-in or missing one."""
    spec = spec_of(top)
    if spec is None:
        return None
    place = next(iter(spec.submodule_search_locations or ()), spec.origin if spec.has_location else None)
    return None if place is None else Path(place).parent


def spec_of(top: str) -> ModuleSpec | None:
    """Returns how the import system finds a top-level module, without importing it; None if it does not."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):  # `__main__` has none
        return None


def _installed() -> set[Path]:
    paths = sysconfig.get_paths()
    return {Path(paths[key]) for key in ("purelib", "platlib", "stdlib", "platstdlib")}


def _imports(text: bytes) -> set[str]:
    """Returns the top-level modules that a file imports by their full names, anywhere in it."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names}

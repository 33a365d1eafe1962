"""Finding plug-ins by name: the module's name is the registry.

A name is looked up, in this order, as `package.module:Class`, in the `--plugins` folders, among the modules that ship,
and among the entry points of installed packages.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from fedcompress.errors import MOST_PROBLEMS, InputError, described, prepared, shown, suggestion
from fedcompress.files import is_file


@dataclass(frozen=True)
class Kind:
    """A kind of plug-in.

    Attributes:
        name: As in messages: "client strategy".
        folder: Folder inside a `--plugins` folder, and suffix of the entry-point group.
        package: Package that ships the built-in ones.
        interface: "module:Class" of the base class.
    """

    name: str
    folder: str
    package: str
    interface: str


KINDS = {
    kind.folder: kind
    for kind in (
        Kind("server strategy", "strategies", "strategies", "fedcompress.strategy:ServerStrategy"),
        Kind("client strategy", "clients", "clients", "fedcompress.client:ClientStrategy"),
        Kind("model", "models", "fedcompress.models.architectures", "fedcompress.models.architecture:Architecture"),
        Kind("data set", "datasets", "fedcompress.data.datasets", "fedcompress.data.dataset:DatasetSource"),
        Kind("compression", "compression", "fedcompress.compression.kinds", "fedcompress.compression.base:Compression"),
        Kind("method", "methods", "fedcompress.recipes.methods", "fedcompress.recipes.method:Method"),
        Kind("value type", "values", "fedcompress.wire.values", "fedcompress.wire.value_type:ValueType"),
    )
}
_SHIPPED = {"fedcompress", "clients", "strategies"}
"""Packages of this distribution, whose version and commit a run records."""


@dataclass(frozen=True)
class Plugins:
    """Looks names up, in `--plugins` folders too.

    Attributes:
        folders: Each holds `clients/NAME.py`, `strategies/NAME.py`, `models/NAME.py`, ...
        contents: What `modules` returned on another machine, which may be the only one that has the folders.
    """

    folders: tuple[Path, ...] = ()
    contents: Mapping[Path, Mapping[str, bytes]] | None = field(default=None, compare=False, repr=False)
    _loaded: dict[Path, ModuleType] = field(default_factory=dict, compare=False, repr=False)
    _imported: set[str] = field(default_factory=set, compare=False, repr=False)
    """Modules of the plug-ins that were found by path or as entry points."""
    _names: dict[str, list[str]] = field(default_factory=dict, compare=False, repr=False)
    _classes: dict[tuple[str, str], type[Any]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for folder in self.folders if self.contents is None else ():
            if not any((folder / kind).is_dir() for kind in KINDS):
                expected = ", ".join(f"{kind}/" for kind in KINDS)
                raise InputError(f"--plugins {folder}: expected a folder that holds at least one of {expected}.")

    def names(self, folder: str) -> list[str]:
        """Returns all names of a kind, without importing any plug-in; they are looked for once."""
        if folder not in self._names:
            self._names[folder] = self._found(folder)
        return list(self._names[folder])

    def _found(self, folder: str) -> list[str]:
        kind = KINDS[folder]
        found = {name.replace("_", "-") for name in _module_names(kind.package)}
        found |= {path.stem.replace("_", "-") for path in self._files(folder)}
        found |= {point.name for point in entry_points(group=f"fedcompress.{folder}")}
        return sorted(found)

    def check(self, folder: str, name: str) -> str | None:
        """Returns what is wrong with a name, or None, without importing it."""
        if ":" in name or name in self.names(folder):
            return None
        return f"unknown {KINDS[folder].name} {name!r}.{suggestion(name, self.names(folder))}"

    def load(self, folder: str, name: str) -> type[Any]:
        """Returns the class that a name stands for.

        Raises:
            InputError: The name is unknown, its module does not import, or defines no subclass of the interface.
        """
        if (folder, name) not in self._classes:
            self._classes[folder, name] = self._class(folder, name)
        return self._classes[folder, name]

    def _class(self, folder: str, name: str) -> type[Any]:
        kind = KINDS[folder]
        interface = _attribute(kind.interface)
        if ":" in name:
            return self._by_path(name, interface, kind, name)
        stem = name.replace("-", "_")
        for path in self._files(folder):
            if path.stem.replace("-", "_") == stem:
                return _only_subclass(self._load_file(path, kind), interface, kind)
        if stem in _module_names(kind.package):
            return _only_subclass(importlib.import_module(f"{kind.package}.{stem}"), interface, kind)
        for point in entry_points(group=f"fedcompress.{folder}"):
            if point.name == name:
                return self._by_path(point.value, interface, kind, name)
        raise InputError(str(self.check(folder, name)))

    def architecture(self, name: str) -> Any:
        """Returns a model's architecture, as `instance`."""
        return self.instance("models", name)

    def value_type(self, name: str) -> Any:
        """Returns a value type of the wire, as `instance`."""
        return self.instance("values", name)

    def instance(self, folder: str, name: str) -> Any:
        """Returns a plug-in without parameters, given its name and perhaps an argument, as in "mlp:512-256".

        Raises:
            InputError: The name is unknown, or the argument wrong.
        """
        plain, colon, argument = name.partition(":")
        has_argument = bool(colon) and plain in self.names(folder)
        plugin, what = self.load(folder, plain if has_argument else name), KINDS[folder].name
        if has_argument and not plugin.argument_name:
            raise InputError(f"{what} {name!r}: {plain!r} takes no argument; write {plain!r}.")
        with prepared(f"{what} {name!r}"):
            return plugin(argument) if has_argument else plugin()

    def _by_path(self, path: str, interface: type[Any], kind: Kind, name: str) -> type[Any]:
        found = _checked(_attribute(path, kind), interface, kind, name)
        self._imported.add(path.partition(":")[0])
        return found

    @cached_property
    def modules(self) -> Mapping[Path, Mapping[str, bytes]]:
        """Folder -> path within it -> text, of all modules; what is imported and what the digest is of."""
        if self.contents is not None:
            return self.contents
        return {root: _read_modules(root) for root in self.folders}

    @property
    def digest(self) -> str:
        """SHA-256 over every file of the plug-in folders, and of the importable plug-ins that were loaded.

        Empty without any of them: what ships is told by its version and commit.
        """
        files = [item for folder in self.folders for item in self.modules[folder].items()]
        files += sorted(_sources(self._imported).items())
        if not self.folders and not files:
            return ""
        digest = sha256()
        for name, text in files:
            digest.update(name.encode() + b"\0" + text)
        return digest.hexdigest()

    def _files(self, folder: str) -> Iterable[Path]:
        for root in self.folders:
            paths = (root / name for name in self.modules[root])
            yield from sorted(p for p in paths if p.parent == root / folder and not p.stem.startswith("_"))

    def _text(self, path: Path) -> bytes:
        root = path.parent.parent
        return self.modules[root][str(path.relative_to(root))]

    def _load_file(self, path: Path, kind: Kind) -> ModuleType:
        """Imports a file under a name of its own, so that a folder called `clients` does not shadow ours."""
        if path not in self._loaded:
            name = f"fedcompress_plugin_{sha256(str(path.resolve()).encode()).hexdigest()[:12]}_{path.stem}"
            spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(path, self._text(path)))
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # `sys.exit` in a plug-in would look like success
                del sys.modules[name]
                raise InputError(f"{kind.name} {path}: does not import: {described(error)}.") from error
            self._loaded[path] = module
        return self._loaded[path]


def _read_modules(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in _python_files(root)}


def _python_files(folder: Path) -> list[Path]:
    """Returns all files of Python in a folder; no folders, pipes and links to nowhere, which may be called so, too."""
    return [path for path in sorted(folder.rglob("*.py")) if is_file(path)]


class _Loader(SourceLoader):
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


def parameter_problems(error: ValidationError, kind: type[BaseModel], where: str) -> Iterable[str]:
    """Returns what is wrong with a plug-in's own parameters, one problem per key."""
    errors = error.errors(include_url=False)
    for item in errors[:MOST_PROBLEMS]:
        key = ".".join([where, *map(str, item["loc"])])
        if item["type"] == "extra_forbidden":
            known = suggestion(str(item["loc"][-1]), kind.model_fields) or " There are none."
            yield f"{key}: unknown parameter.{known}"
        elif item["type"] == "missing":
            yield f"{key}: is missing; {kind.model_fields[str(item['loc'][0])].description}."
        else:
            message = str(item["msg"]).removeprefix("Value error, ").replace("Input should", "input should").rstrip(".")
            yield f"{key}: received {shown(item['input'])}; {message}{'' if message.endswith('?') else '.'}"
    if len(errors) > MOST_PROBLEMS:
        yield f"{where}: {len(errors) - MOST_PROBLEMS:,} more problems."


def _module_names(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    locations = list(spec.submodule_search_locations or []) if spec else []
    return [module.name for module in pkgutil.iter_modules(locations) if not module.name.startswith("_")]


def _sources(modules: Iterable[str]) -> dict[str, bytes]:
    """Returns the files that importable plug-ins are made of, by their path below the folder that they are found in.

    They are those of each module's whole top-level package, and of the modules and packages beside it that it imports:
    the helpers of a project. Of an installed package, what is installed beside it is none of those.
    """
    found: dict[str, bytes] = {}
    waiting, seen = [name.partition(".")[0] for name in modules], set(_SHIPPED)
    roots: set[Path] = set()
    while waiting:
        top = waiting.pop()
        for root, path in _files_of(top) if top not in seen else ():
            text = path.read_bytes()
            found[str(path.relative_to(root))] = text
            if root not in _installed():
                roots.add(root)
                waiting += [name for name in _imports(text) if name not in seen and _root_of(name) in roots]
        seen.add(top)
    return found


def _files_of(top: str) -> Iterator[tuple[Path, Path]]:
    """Yields (folder that the import system finds it in, file) of all files of a top-level module or package."""
    spec = _spec(top)
    for place in map(Path, (spec.submodule_search_locations or ()) if spec else ()):
        yield from ((place.parent, path) for path in _python_files(place))
    if spec and spec.submodule_search_locations is None and spec.has_location and Path(str(spec.origin)).is_file():
        yield Path(str(spec.origin)).parent, Path(str(spec.origin))


def _root_of(top: str) -> Path | None:
    """Returns the folder in which the import system finds a top-level module; None for a built-in or missing one."""
    spec = _spec(top)
    if spec is None:
        return None
    place = next(iter(spec.submodule_search_locations or ()), spec.origin if spec.has_location else None)
    return None if place is None else Path(place).parent


def _spec(top: str) -> ModuleSpec | None:
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


def _attribute(path: str, kind: Kind | None = None) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        what = kind.name if kind else "interface"
        problem = f"{what} {path!r}: cannot be loaded: {described(error)}. Expected package.module:Class."
        raise InputError(problem) from error


def _checked(found: Any, interface: type[Any], kind: Kind, name: str) -> type[Any]:
    if not (inspect.isclass(found) and issubclass(found, interface)):
        raise InputError(f"{kind.name} {name!r}: received {found!r}, expected a subclass of {kind.interface}.")
    return found


def _only_subclass(module: ModuleType, interface: type[Any], kind: Kind) -> type[Any]:
    """Returns the one concrete subclass of the interface that a module itself defines."""
    found = [
        item
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, interface) and item.__module__ == module.__name__
    ]
    concrete = [item for item in found if not inspect.isabstract(item)]
    if len(concrete) != 1:
        names = _names([item.__name__ for item in concrete])
        raise InputError(f"{module.__file__}: expected one subclass of {kind.interface}, found {names}.")
    return concrete[0]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"

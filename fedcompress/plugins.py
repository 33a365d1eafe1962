"""Finding plug-ins by name: the module's name is the registry.

A name is looked up, in this order, as `package.module:Class`, in the `--plugins` folders, among the modules that ship,
and among the entry points of installed packages.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from fedcompress.errors import InputError, suggestion


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
        Kind("model", "models", "fedcompress.models", "fedcompress.models.architecture:Architecture"),
        Kind("data set", "datasets", "fedcompress.data.datasets", "fedcompress.data.dataset:DatasetSource"),
        Kind("compression", "compression", "fedcompress.compression", "fedcompress.compression.base:Compression"),
        Kind("method", "methods", "fedcompress.recipes.methods", "fedcompress.recipes.method:Method"),
    )
}
_NOT_PLUGINS = {
    *("architecture", "channels", "convolutional", "cost", "random_layers", "saved"),
    *("archive", "base", "masks", "pruning", "quantisers", "scheduled", "size", "tflite"),
}


@dataclass(frozen=True)
class Plugins:
    """Looks names up, in `--plugins` folders too.

    Attributes:
        folders: Each holds `clients/NAME.py`, `strategies/NAME.py`, `models/NAME.py`, ...
    """

    folders: tuple[Path, ...] = ()
    _loaded: dict[Path, ModuleType] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for folder in self.folders:
            if not any((folder / kind).is_dir() for kind in KINDS):
                expected = ", ".join(f"{kind}/" for kind in KINDS)
                raise InputError(f"--plugins {folder}: expected a folder that holds at least one of {expected}.")

    def names(self, folder: str) -> list[str]:
        """Returns all names of a kind, without importing any plug-in."""
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
        kind = KINDS[folder]
        interface = _attribute(kind.interface)
        if ":" in name:
            return _checked(_attribute(name, kind), interface, kind, name)
        stem = name.replace("-", "_")
        for path in self._files(folder):
            if path.stem.replace("-", "_") == stem:
                return _only_subclass(self._load_file(path, kind), interface, kind)
        if stem in _module_names(kind.package):
            return _only_subclass(importlib.import_module(f"{kind.package}.{stem}"), interface, kind)
        for point in entry_points(group=f"fedcompress.{folder}"):
            if point.name == name:
                return _checked(_attribute(point.value, kind), interface, kind, name)
        raise InputError(str(self.check(folder, name)))

    def architecture(self, name: str) -> Any:
        """Returns a model's architecture, given its name and perhaps an argument, as in "mlp:512-256".

        Raises:
            InputError: The name is unknown, or the argument wrong.
        """
        plain, colon, argument = name.partition(":")
        if not colon or plain not in self.names("models"):
            return self.load("models", name)()
        kind = self.load("models", plain)
        if not kind.argument_name:
            raise InputError(f"model {name!r}: {plain!r} takes no argument; write {plain!r}.")
        return kind(argument)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every file of the plug-in folders; empty without any."""
        if not self.folders:
            return ""
        digest = sha256()
        for folder in self.folders:
            for path in sorted(folder.rglob("*.py")):
                digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def _files(self, folder: str) -> Iterable[Path]:
        for root in self.folders:
            yield from sorted(p for p in (root / folder).glob("*.py") if not p.stem.startswith("_"))

    def _load_file(self, path: Path, kind: Kind) -> ModuleType:
        """Imports a file under a name of its own, so that a folder called `clients` does not shadow ours."""
        if path not in self._loaded:
            name = f"fedcompress_plugin_{sha256(str(path.resolve()).encode()).hexdigest()[:12]}_{path.stem}"
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except Exception as error:
                del sys.modules[name]
                raise InputError(f"{kind.name} {path}: does not import: {type(error).__name__}: {error}.") from error
            self._loaded[path] = module
        return self._loaded[path]


def parameter_problems(error: ValidationError, kind: type[BaseModel], where: str) -> Iterable[str]:
    """Returns what is wrong with a plug-in's own parameters, one problem per key."""
    for item in error.errors(include_url=False):
        key = ".".join([where, *map(str, item["loc"])])
        if item["type"] == "extra_forbidden":
            known = suggestion(str(item["loc"][-1]), kind.model_fields) or " There are none."
            yield f"{key}: unknown parameter.{known}"
        elif item["type"] == "missing":
            yield f"{key}: is missing; {kind.model_fields[str(item['loc'][0])].description}."
        else:
            message = str(item["msg"]).removeprefix("Value error, ").replace("Input should", "input should").rstrip(".")
            yield f"{key}: received {item['input']!r}; {message}{'' if message.endswith('?') else '.'}"


def _module_names(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    locations = list(spec.submodule_search_locations or []) if spec else []
    return [
        m.name for m in pkgutil.iter_modules(locations) if m.name not in _NOT_PLUGINS and not m.name.startswith("_")
    ]


def _attribute(path: str, kind: Kind | None = None) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        what = kind.name if kind else "interface"
        raise InputError(
            f"{what} {path!r}: cannot be loaded: {type(error).__name__}: {error}. Expected package.module:Class."
        ) from error


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

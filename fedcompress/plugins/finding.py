"""Finding plug-ins: the module's name is the registry.

The same text means the same everywhere: in a scenario, a recipe, an option and in Python. It is `NAME`,
`package.module:Class`, or, of a kind that takes arguments, either of them followed by `:ARGUMENT`. A name is looked
up, in this order, in the `--plugins` folders, among the modules that ship, and among the entry points of installed
packages.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from fedcompress.errors import InputError, described, prepared, suggestion
from fedcompress.plugins.sources import TextLoader, read_modules, sources, spec_of


@dataclass(frozen=True)
class Kind:
    """A kind of plug-in.

    Attributes:
        name: As in messages: "client strategy".
        folder: Folder inside a `--plugins` folder, and suffix of the entry-point group.
        package: Package that ships the built-in ones.
        interface: "module:Class" of the base class.
        takes_argument: Whether `:ARGUMENT` may follow the name; its interface says so, too, in `argument_name`.
    """

    name: str
    folder: str
    package: str
    interface: str
    takes_argument: bool = False


_MODELS = "fedcompress.models"
_DATA = "fedcompress.data"
_WIRE = "fedcompress.wire"
KINDS = {
    kind.folder: kind
    for kind in (
        Kind("server strategy", "strategies", "strategies", "fedcompress.strategy:ServerStrategy"),
        Kind("client strategy", "clients", "clients", "fedcompress.client:ClientStrategy"),
        Kind("model", "models", f"{_MODELS}.architectures", f"{_MODELS}.architecture:Architecture", True),
        Kind("data set", "datasets", f"{_DATA}.datasets", f"{_DATA}.dataset:DatasetSource", True),
        Kind("compression", "compression", "fedcompress.compression.kinds", "fedcompress.compression.base:Compression"),
        Kind("method", "methods", "fedcompress.recipes.methods", "fedcompress.recipes.method:Method"),
        Kind("partition", "partitions", f"{_DATA}.partitions", f"{_DATA}.partition:Partition"),
        Kind("value type", "values", f"{_WIRE}.values", f"{_WIRE}.value_type:ValueType", True),
    )
}


NEAR = 0.8
"""How alike two names are, from 0 to 1, of which one is taken for a slip."""


class Reference(NamedTuple):
    """What a text stands for: a plug-in's class, and what follows it in the text; None where nothing does."""

    plugin: type[Any]
    argument: str | None


@dataclass(frozen=True)
class Plugins:
    """Finds plug-ins by name, in `--plugins` folders too.

    Attributes:
        folders: Each holds `clients/NAME.py`, `strategies/NAME.py`, `models/NAME.py`, ...
        contents: What `modules` returned on another machine, which may be the only one that has the folders.
    """

    folders: tuple[Path, ...] = ()
    contents: Mapping[Path, Mapping[str, bytes]] | None = field(default=None, compare=False, repr=False)
    _modules_by_path: dict[Path, ModuleType] = field(default_factory=dict, compare=False, repr=False)
    _imported: set[str] = field(default_factory=set, compare=False, repr=False)
    """Modules of the plug-ins that were found by path or as entry points."""
    _names: dict[str, list[str]] = field(default_factory=dict, compare=False, repr=False)
    _classes: dict[tuple[str, str], type[Any]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for folder in self.folders if self.contents is None else ():
            if problems := [*_misnamed(folder)]:
                raise InputError(problems)
            if not any((folder / kind).is_dir() for kind in KINDS):
                expected = ", ".join(f"{kind}/" for kind in KINDS)
                raise InputError(f"--plugins {folder}: expected a folder that holds at least one of {expected}.")

    def names(self, folder: str) -> list[str]:
        """Returns all names of a kind, without importing any plug-in; they are looked for once."""
        if folder not in self._names:
            names = {name.replace("_", "-") for name in _module_names(KINDS[folder].package)}
            names |= {path.stem.replace("_", "-") for path in self._files(folder)}
            names |= {point.name for point in entry_points(group=f"fedcompress.{folder}")}
            self._names[folder] = sorted(names)
        return list(self._names[folder])

    def check(self, folder: str, text: str) -> str | None:
        """Returns what is wrong with a text as far as that is known without an import, or None."""
        kind, known = KINDS[folder], self.names(folder)
        name, colon, _ = self._parted(kind, text)[0].partition(":")
        if name in known or (colon and not (kind.takes_argument and _misspelt(name, known))):
            return None
        return f"unknown {kind.name} {name!r}.{suggestion(name, known)}"

    def resolve(self, folder: str, text: str) -> Reference:
        """Returns what a text stands for.

        Raises:
            InputError: The name is unknown, its module does not import, or defines no subclass of the interface.
        """
        if problem := self.check(folder, text):
            raise InputError(problem)
        name, argument = self._parted(KINDS[folder], text)
        if (folder, name) not in self._classes:
            self._classes[folder, name] = self._class(KINDS[folder], name)
        return Reference(self._classes[folder, name], argument)

    def load(self, folder: str, text: str) -> type[Any]:
        """Returns the class that a text stands for; errors as `resolve`."""
        return self.resolve(folder, text).plugin

    def architecture(self, text: str) -> Any:
        """Returns a model's architecture, given its name and perhaps an argument, as in "mlp:512-256"."""
        return self._instance("models", text)

    def value_type(self, text: str) -> Any:
        """Returns a value type of the wire, given its name and perhaps an argument."""
        return self._instance("values", text)

    def _instance(self, folder: str, text: str) -> Any:
        """Returns a plug-in that nothing but an argument goes into.

        Raises:
            InputError: The name is unknown, or the argument wrong.
        """
        plugin, argument = self.resolve(folder, text)
        what = f"{KINDS[folder].name} {text!r}"
        if argument is not None and not plugin.argument_name:
            plain = text.removesuffix(f":{argument}")
            raise InputError(f"{what}: {plain!r} takes no argument; write {plain!r}.")
        with prepared(what):
            return plugin() if argument is None else plugin(argument)

    def shipped(self, folder: str, fits: Callable[[type[Any]], bool]) -> str:
        """Returns the name of the first plug-in that ships and fits, for messages that suggest one."""
        return next(self.all_shipped(folder, fits))

    def all_shipped(self, folder: str, fits: Callable[[type[Any]], bool]) -> Iterator[str]:
        """Yields the names of all plug-ins that ship and fit, for messages that leave the choice."""
        ours = Plugins()
        names = (name.replace("_", "-") for name in sorted(_module_names(KINDS[folder].package)))
        return (name for name in names if fits(ours.load(folder, name)))

    def _parted(self, kind: Kind, text: str) -> tuple[str, str | None]:
        """Splits a text into what names the class, and the argument, if there is one."""
        if not kind.takes_argument:
            return text, None
        parts = text.split(":")
        size = 1 if parts[0] in self.names(kind.folder) else 2
        return ":".join(parts[:size]), ":".join(parts[size:]) if parts[size:] else None

    def _class(self, kind: Kind, name: str) -> type[Any]:
        interface = _attribute(kind.interface)
        if ":" in name:
            return self._by_path(name, interface, kind, name)
        stem = name.replace("-", "_")
        for path in self._files(kind.folder):
            if path.stem.replace("-", "_") == stem:
                return _only_subclass(self._load_file(path, kind), interface, kind)
        if importlib.util.find_spec(f"{kind.package}.{stem}"):
            return _only_subclass(importlib.import_module(f"{kind.package}.{stem}"), interface, kind)
        points = entry_points(group=f"fedcompress.{kind.folder}")
        return self._by_path(next(p.value for p in points if p.name == name), interface, kind, name)

    def _by_path(self, path: str, interface: type[Any], kind: Kind, name: str) -> type[Any]:
        plugin: type[Any] = _attribute(path, kind)
        if not (inspect.isclass(plugin) and issubclass(plugin, interface)):
            raise InputError(f"{kind.name} {name!r}: received {plugin!r}, expected a subclass of {kind.interface}.")
        self._imported.add(path.partition(":")[0])
        return plugin

    @cached_property
    def modules(self) -> Mapping[Path, Mapping[str, bytes]]:
        """Folder -> path within it -> text, of all modules; what is imported and what the digest is of."""
        if self.contents is not None:
            return self.contents
        return {root: read_modules(root) for root in self.folders}

    @property
    def digest(self) -> str:
        """SHA-256 over every file of the plug-in folders, and of the importable plug-ins that were loaded.

        Empty without any of them: what ships is told by its version and commit.
        """
        files = [item for folder in self.folders for item in self.modules[folder].items()]
        files += sorted(sources(self._imported).items())
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

    def _load_file(self, path: Path, kind: Kind) -> ModuleType:
        """Imports a file under a name of its own, so that a folder called `clients` does not shadow ours."""
        if path not in self._modules_by_path:
            name = f"fedcompress_plugin_{sha256(str(path.resolve()).encode()).hexdigest()[:12]}_{path.stem}"
            root = path.parent.parent
            text = self.modules[root][str(path.relative_to(root))]
            spec = importlib.util.spec_from_file_location(name, path, loader=TextLoader(path, text))
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
            self._modules_by_path[path] = module
        return self._modules_by_path[path]


def _misnamed(folder: Path) -> Iterator[str]:
    """Yields what is wrong where a folder of a `--plugins` folder has nearly the name of a kind, which it lacks."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    lacking = {_stem(kind): kind for kind in KINDS if not (folder / kind).is_dir()}
    for path in inside:
        near = get_close_matches(_stem(path.name), lacking, 1, NEAR) if path.name not in KINDS else []
        if near and any(path.glob("*.py")):
            expected = lacking[near[0]]
            yield f"--plugins {folder}: {path.name}/ is the folder of no kind of plug-in; rename it to {expected}/."


def _stem(name: str) -> str:
    """Returns a name without what makes a plural of it, in lower case."""
    lower = name.lower()
    return lower.removesuffix("ies") if lower.endswith("ies") else lower.removesuffix("s").removesuffix("y")


def _misspelt(name: str, known: list[str]) -> bool:
    """Says whether what stands before a colon is a near miss of a name, and no module that may hold a class."""
    return bool(get_close_matches(name, known, 1)) and spec_of(name.partition(".")[0]) is None


def _module_names(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    locations = list(spec.submodule_search_locations or []) if spec else []
    return [module.name for module in pkgutil.iter_modules(locations) if not module.name.startswith("_")]


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


def _only_subclass(module: ModuleType, interface: type[Any], kind: Kind) -> type[Any]:
    """Returns the one concrete subclass of the interface that a module itself defines."""
    subclasses = [
        item
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, interface) and item.__module__ == module.__name__
    ]
    concrete = [item for item in subclasses if not inspect.isabstract(item)]
    if len(concrete) != 1:
        names = ", ".join(item.__name__ for item in concrete) or ", ".join(map(_unfinished, subclasses)) or "none"
        raise InputError(f"{module.__file__}: expected one subclass of {kind.interface}, found {names}.")
    return concrete[0]


def _unfinished(plugin: type[Any]) -> str:
    """Returns an abstract class's name with the methods that it does not define."""
    return f"{plugin.__name__} without {', '.join(sorted(plugin.__abstractmethods__))}"

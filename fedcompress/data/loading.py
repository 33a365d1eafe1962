"""Loads a data set by name."""

from __future__ import annotations

import pkgutil
from collections.abc import Hashable, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import numpy as np

from ..errors import InputError, prepared, suggestion
from . import datasets
from .dataset import DataRoots, Dataset, DatasetSource


def builtin_names() -> list[str]:
    """Returns the names of the built-in data sets, sorted, without importing them."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(datasets.__path__))


def builtin_source(name: str) -> type[DatasetSource]:
    """Returns the source of a built-in data set: the subclass of `DatasetSource` in the module of that name.

    Raises:
        InputError: There is none of that name.
    """
    if name not in builtin_names():
        raise InputError(f"Unknown data set {name!r}.{suggestion(name, builtin_names())}")
    module = import_module(f"{datasets.__name__}.{name.replace('-', '_')}")
    members = [member for member in vars(module).values() if isinstance(member, type)]
    (source,) = [m for m in members if issubclass(m, DatasetSource) and m.__module__ == module.__name__]
    return source


def load_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    classes: Sequence[int] | None = None,
    source: type[DatasetSource] | None = None,
) -> Dataset:
    """Loads a data set. The last two are kept in memory.

    Args:
        name: As in a scenario: "mnist-5k", "npz:FILE", "hf:NAME".
        data_dir: Where to look first; see `DataRoots` for where else.
        classes: Keep these classes only, renumbered 0, 1, ... in this order: [6, 9] is the binary task 6 v 9.
        source: A plug-in's class instead of the built-in one of that name.

    Raises:
        InputError: Unknown, absent or damaged data set, or classes that it does not have.
    """
    plain, _, argument = name.partition(":")
    source = source or builtin_source(plain)
    if bool(argument) != bool(source.argument_name):
        expected = f"{plain}:{source.argument_name}" if source.argument_name else plain
        raise InputError(f"The data set is {name!r}; expected {expected!r}.")
    roots = DataRoots(data_dir)
    with prepared(f"data set {name!r}"):
        version = source(argument).fingerprint(roots)
        return _loaded(source, argument, roots, None if classes is None else tuple(classes), version)


@lru_cache(maxsize=2)
def _loaded(
    source: type[DatasetSource], argument: str, roots: DataRoots, classes: tuple[int, ...] | None, version: Hashable
) -> Dataset:
    """`version` only keys the cache: a file that was written anew is loaded anew."""
    dataset = source(argument).load(roots)
    return dataset if classes is None else select_classes(dataset, classes)


def unavailable(name: str, *, data_dir: Path | None = None) -> str | None:
    """Returns why a built-in data set cannot be loaded without downloading, or None if it can.

    Nothing is downloaded or kept in memory.
    """
    source = builtin_source(name)
    if source.argument_name:
        return f"{name}:{source.argument_name} depends on its {source.argument_name}."
    try:
        source().load(DataRoots(data_dir, offline=True))
    except InputError as error:
        return str(error)
    return None


def select_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """Returns the examples of some classes only, renumbered 0, 1, ... in the order given.

    Raises:
        InputError: Fewer than two classes, a repeated one, or one that the data set does not have.
    """
    unknown = [label for label in classes if not 0 <= label < dataset.classes]
    problems = []
    if len(classes) < 2:
        problems.append(f"classes is {list(classes)}; expected at least two.")
    if len(set(classes)) < len(classes):
        problems.append(f"classes is {list(classes)}; expected each class once.")
    if unknown:
        problems.append(f"{dataset.name!r} has no class {unknown}; it has 0 to {dataset.classes - 1}.")
    if problems:
        raise InputError(problems)
    renumbered = np.full(dataset.classes, -1, np.int32)
    renumbered[list(classes)] = np.arange(len(classes))
    kept = {}
    for split in ("train", "test"):
        labels = renumbered[getattr(dataset, f"y_{split}")]
        kept[f"x_{split}"] = getattr(dataset, f"x_{split}")[labels >= 0]
        kept[f"y_{split}"] = labels[labels >= 0]
    return Dataset(f"{dataset.name}{list(classes)}", **kept, classes=len(classes))

"""Loading a data set by its name, and all data of a scenario."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, prepared
from ..plugins import Plugins
from ..scenario import Scenario
from ..units import counted
from .dataset import DataRoots, Dataset, DatasetSource
from .federated import FederatedData, federate
from .partition import Partition

ALL_TESTS, LEAST_TEST, MOST_TEST = 100_000, 50, 1000
"""Examples for tests on own distributions: of all clients together, and bounds for one client."""


def load_federated(
    scenario: Scenario, partition: Partition, plugins: Plugins, data_dir: Path | None = None
) -> FederatedData:
    """Loads a scenario's data and divides it over the clients: a pure function of data sets, seed and settings.

    Args:
        scenario: Says which data.
        partition: The one that it names.
        plugins: Finds data sets.
        data_dir: Where data sets are looked for first.

    Raises:
        InputError: A data set cannot be loaded, or not be divided as asked for.
    """
    settings, public = scenario.data, scenario.public
    foreign = public and public.dataset
    private = load_dataset(settings.dataset, data_dir=data_dir, classes=settings.classes, plugins=plugins)
    known = load_dataset(foreign, data_dir=data_dir, plugins=plugins) if foreign else None
    if known is not None and public and public.embedded and (shared := common_examples(private, known)):
        raise InputError(
            f'public.embedding.width: received "dataset:{foreign}", {shared:,} of whose examples are among the '
            "clients' own: a width chosen by private data is a release that no epsilon covers. Use "
            '"noise", a number, or public data.'
        )
    return federate(
        private,
        partition,
        scenario.data_seed,
        test_limit=max(LEAST_TEST, min(MOST_TEST, ALL_TESTS // settings.clients)),
        public=public.examples if public and public.source == "holdout" else 0,
        foreign=known,
    )


def common_examples(first: Dataset, second: Dataset) -> int:
    """Returns how many training examples of a data set have inputs that the other has, too, be they numbers of another
    type: as models take them, to 1/255."""
    if first.x_train.shape[1:] != second.x_train.shape[1:]:
        return 0
    known = {example.tobytes() for example in _in_steps(first.x_train)}
    return sum(example.tobytes() in known for example in _in_steps(second.x_train))


def _in_steps(x: NDArray[Any]) -> NDArray[np.int16]:
    """Returns inputs in steps of 1/255: those of 8 bits as they are."""
    steps = x if x.dtype == np.uint8 else np.clip(np.round(255.0 * x), -32768, 32767)
    return steps.astype(np.int16)


def load_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    classes: Sequence[int] | None = None,
    plugins: Plugins | None = None,
) -> Dataset:
    """Loads a data set. The last two are kept in memory.

    Args:
        name: As in a scenario: "mnist-5k", "npz:FILE", "hf:NAME", "package.module:Class".
        data_dir: Where to look first; see `DataRoots` for where else.
        classes: Keep these classes only, renumbered 0, 1, ... in this order: [6, 9] is the binary task 6 v 9.
        plugins: Finds its source.

    Raises:
        InputError: Unknown, absent or damaged data set, or classes that it does not have.
    """
    plugin, argument = (plugins or Plugins()).resolve("datasets", name)
    source: type[DatasetSource] = plugin
    if bool(argument) != bool(source.argument_name):
        plain = name.removesuffix(f":{argument}")
        expected = f"{plain}:{source.argument_name}" if source.argument_name else plain
        raise InputError(f"The data set is {name!r}; expected {expected!r}.")
    roots = DataRoots(data_dir)
    with prepared(f"data set {name!r}"):
        version = source(argument or "").fingerprint(roots)
        return _loaded(source, argument or "", roots, None if classes is None else tuple(classes), version)


@lru_cache(maxsize=2)
def _loaded(
    source: type[DatasetSource], argument: str, roots: DataRoots, classes: tuple[int, ...] | None, version: Hashable
) -> Dataset:
    """`version` only keys the cache: a file that was written anew is loaded anew."""
    dataset = source(argument).load(roots)
    if not isinstance(dataset, Dataset):
        raise TypeError(f"load returned {type(dataset).__name__}, expected fedcompress.data.dataset.Dataset")
    if dataset.classes < 2:
        has = counted(dataset.classes, "class", "classes")
        raise InputError(f"Data set {dataset.name!r} has {has}; expected at least two, to be told apart.")
    return dataset if classes is None else select_classes(dataset, classes)


def unavailable(name: str, *, data_dir: Path | None = None) -> str | None:
    """Returns why a data set that ships cannot be loaded without downloading, or None if it can.

    Nothing is downloaded or kept in memory.
    """
    try:
        source = Plugins().load("datasets", name)
        if source.argument_name:
            return f"{name}:{source.argument_name} depends on its {source.argument_name}."
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
    y_train, y_test = renumbered[dataset.y_train], renumbered[dataset.y_test]
    train, test = y_train >= 0, y_test >= 0
    return Dataset(
        f"{dataset.name}{list(classes)}",
        dataset.x_train[train],
        y_train[train],
        dataset.x_test[test],
        y_test[test],
        len(classes),
        None if dataset.client_ids is None else dataset.client_ids[train],
        dataset.published,
        None if dataset.test_client_ids is None else dataset.test_client_ids[test],
        dataset.people,
    )

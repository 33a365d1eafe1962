"""One run's view of a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedcompress.data.dataset import Dataset
from fedcompress.data.federated import Examples, FederatedData, federate
from fedcompress.errors import InputError
from fedcompress.plugins import Plugins
from fedcompress.scenario.sections import DataSettings
from work import counted


def view(dataset: Dataset, seed: int = 1, test_limit: int = 1000, public: int = 0, **changes: Any) -> FederatedData:
    table: dict[str, Any] = {"clients": 6, "partition": "dirichlet", "alpha": 0.3, "minimum": 1} | changes
    kind = Plugins().load("partitions", table["partition"])
    partition = kind(kind.Params(), DataSettings(**table))
    return federate(dataset, partition, seed, test_limit=test_limit, public=public)


@pytest.mark.parametrize("method", Plugins().names("partitions"))
def test_no_example_is_used_twice(balanced: Dataset, method: str) -> None:
    """Six people have a hundred examples each, as `natural` asks for."""
    data = view(replace(balanced, client_ids=np.arange(600) % 6), partition=method)
    parts = [*data.train_parts, *data.validation_parts, data.server_validation]
    assert sorted(np.concatenate(parts).tolist()) == list(range(600))
    assert data.clients == 6


def test_sizes(balanced: Dataset) -> None:
    """600 examples, 0.05 for the server = 30 (3 of each class); 570 / 6 = 95 per client, 0.1 of them = 9.5 -> 10."""
    data = view(balanced, partition="iid")
    assert np.bincount(data.server_validation_examples.y).tolist() == [3] * 10
    assert [len(data.train(c)) for c in range(6)] == [85] * 6
    assert [len(data.validation(c)) for c in range(6)] == [10] * 6
    assert len(data.pooled()) == 510
    assert len(data.test_examples) == 200
    assert data.distribution.sum(axis=1).tolist() == [95] * 6


def test_a_part_of_the_examples(balanced: Dataset) -> None:
    data = view(balanced, examples=200, public=50)
    parts = [*data.train_parts, *data.validation_parts, data.server_validation, data.public]
    used = np.concatenate(parts)
    assert len(used) == len(set(used.tolist())) == 200
    assert np.bincount(balanced.y_train[used]).tolist() == [20] * 10
    assert np.bincount(balanced.y_train[data.public]).tolist() == [5] * 10
    assert view(balanced, examples=10_000).digest == view(balanced).digest
    assert view(balanced, examples=200).digest != view(balanced, examples=200, seed=2).digest


def test_inputs_and_labels_stay_together(balanced: Dataset) -> None:
    """Image i is filled with i mod 256 and has the label i mod 10; below 256 the label is the value modulo 10."""
    data = view(balanced)
    for examples in (data.train(2), data.validation(2), data.test(2), data.pooled(), data.server_validation_examples):
        assert len(examples.x) == len(examples.y) > 0
    test = data.test(2)
    assert (test.x[:, 0, 0, 0] % 10 == test.y).all()
    np.testing.assert_array_equal(data.train(2).x, balanced.x_train[data.train_parts[2]])
    data.train(2).x[0] = 0  # a copy: the shared arrays cannot change


def test_own_test_examples_match_the_distribution(balanced: Dataset) -> None:
    """Counts differ from m times the client's shares by less than one, whatever m is."""
    data = view(balanced, validation=0.0)
    for client in range(6):
        shares = np.bincount(data.train(client).y, minlength=10) / len(data.train(client))
        counts = np.bincount(data.test(client).y, minlength=10)
        assert np.abs(counts - counts.sum() * shares).max() < 1
    assert len(view(balanced, partition="iid", test_limit=17).test(0)) == 17


def test_clients_without_test_examples_are_said(balanced: Dataset) -> None:
    """Each of ten clients has one class; of two classes there are no test examples."""
    tested = balanced.y_test >= 2
    fewer = replace(balanced, x_test=balanced.x_test[tested], y_test=balanced.y_test[tested])
    parts = {"clients": 10, "partition": "pathological", "classes_per_client": 1}
    (note,) = view(fewer, **parts).notes
    lacking = [c for c in range(10) if not len(view(fewer, **parts).test(c))]
    assert note.startswith(
        f"data: no test examples of their classes for 2 of 10 clients ({lacking[0]}, {lacking[1]}): no accuracy on "
    )
    assert view(balanced, **parts).notes == ()


def test_a_pure_function_of_its_arguments(balanced: Dataset) -> None:
    same = [view(balanced) for _ in range(2)]
    assert same[0].digest == same[1].digest
    assert same[0].test_part(3).tolist() == same[1].test_part(3).tolist()
    changes: list[dict[str, Any]] = [
        {"seed": 2},
        {"alpha": 0.4},
        {"clients": 7},
        {"partition": "iid"},
        {"validation": 0.2},
        {"server_validation": 0.1},
        {"test_limit": 10},
    ]
    digests = {view(balanced, **change).digest for change in changes}
    assert len(digests | {same[0].digest}) == len(changes) + 1
    other = Dataset("x", balanced.x_train + 1, balanced.y_train, balanced.x_test, balanced.y_test, 10)
    assert view(other).digest != same[0].digest


def test_the_server_examples_do_not_depend_on_the_clients(balanced: Dataset) -> None:
    few, many = view(balanced, clients=2), view(balanced, clients=50, partition="iid")
    np.testing.assert_array_equal(few.server_validation, many.server_validation)


def test_no_validation(balanced: Dataset) -> None:
    data = view(balanced, validation=0.0, server_validation=0.0)
    assert len(data.server_validation_examples) == len(data.validation(0)) == 0
    assert len(data.pooled()) == 600


@pytest.mark.parametrize("client", [-1, 6])
def test_there_is_no_such_client(balanced: Dataset, client: int) -> None:
    data = view(balanced)
    for get in (data.train, data.validation, data.test):
        with pytest.raises(IndexError, match=f"client {client} of 6"):
            get(client)


def test_too_few_examples(balanced: Dataset) -> None:
    with pytest.raises(InputError, match="600 clients x at least 1 example are 600, but there are only 570"):
        view(balanced, clients=600)


def test_ten_thousand_clients() -> None:
    """35 calls a client, 0.46 s in all."""
    labels = np.arange(60_000) % 10
    dataset = Dataset("large", np.zeros((60_000, 4), np.uint8), labels, np.zeros((100, 4), np.uint8), labels[:100], 10)
    data, calls = counted(lambda: view(dataset, clients=10_000, alpha=0.1))
    assert calls < 400_000
    assert len(data.digest) == 64
    assert min(len(part) for part in data.train_parts) >= 1
    assert len(data.test(9_999)) > 0


def test_examples_of_another_kind_follow_as_training_sees_them() -> None:
    """uint8 stays where both are; beside floats 51 becomes 0.2."""
    bytes_, floats = (
        Examples(np.array([[51]], np.uint8), np.array([1], np.int32)),
        Examples(np.array([[0.5]], np.float32), np.array([2], np.int32)),
    )
    both = bytes_.followed_by(bytes_)
    assert (both.x.dtype, both.x.tolist(), both.y.tolist()) == (np.uint8, [[51], [51]], [1, 1])
    mixed = bytes_.followed_by(floats)
    assert mixed.x.dtype == np.float32
    np.testing.assert_allclose(mixed.x, [[0.2], [0.5]], rtol=1e-6)
    assert floats.followed_by(bytes_).y.tolist() == [2, 1]

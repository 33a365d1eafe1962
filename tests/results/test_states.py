"""Client states: bounded in memory, whole rounds on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flwr.app import RecordDict

from fedcompress.errors import InputError
from fedcompress.results.run.states import ClientStates
from fedcompress.wire.keeping import Kept, Shelf


def test_what_does_not_fit_in_memory_is_read_back_from_disk(tmp_path: Path) -> None:
    states = ClientStates(tmp_path, limit=100)
    for partition in range(50):
        states.put(partition, Kept(bytes([partition]) * 30))
    assert all(states.get(partition) == Kept(bytes([partition]) * 30) for partition in range(50))
    assert len(list(tmp_path.glob("*.state"))) >= 47


def test_restore_goes_back_to_the_last_commit(tmp_path: Path) -> None:
    states = ClientStates(tmp_path, limit=10)
    states.put(0, Kept(b"first" * 3))
    files = states.commit(1)
    states.clean()
    states.put(0, Kept(b"second" * 3))
    states.put(1, Kept(b"other" * 3))
    again = ClientStates(tmp_path)
    again.restore(files, 1)
    again.clean()
    assert again.get(0) == Kept(b"first" * 3)
    assert again.get(1) == Kept()
    assert [p.name for p in tmp_path.glob("*.state")] == list(files.values())


def test_empty_states_take_no_room(tmp_path: Path) -> None:
    states = ClientStates(tmp_path)
    states.put(3, Kept())
    assert states.commit(1) == {}
    assert list(tmp_path.iterdir()) == []


def with_array(kept: np.ndarray, name: str) -> Kept:
    """Returns a state of a small and a large array."""
    return Kept.of(RecordDict({name: Shelf().record([np.ones(3, np.float32), kept])}))


def test_an_array_that_many_keep_is_on_disk_once(tmp_path: Path) -> None:
    """Of 4 clients, one of which then keeps another; what nobody keeps goes with the next commit."""
    shared, other = np.arange(50_000, dtype=np.float32), np.zeros((100, 500), np.float32)
    states = ClientStates(tmp_path, limit=1000)
    for partition in range(4):
        states.put(partition, with_array(shared, f"of {partition}"))
    files, arrays = states.commit(1), states.arrays
    states.clean()
    assert [path.stat().st_size for path in tmp_path.glob("*.array")] == [shared.nbytes]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.state")) < 1000
    states.put(2, with_array(other, "of 2"))
    assert len(list(tmp_path.glob("*.array"))) == 2
    for partition in range(4):
        (record,) = states.get(partition).restored().array_records.values()
        small, large = Shelf().take(record)
        assert small.tolist() == [1, 1, 1]
        assert np.array_equal(large, other if partition == 2 else shared)

    again = ClientStates(tmp_path)
    again.restore(files, 1, arrays)
    again.clean()
    (record,) = again.get(2).restored().array_records.values()
    assert np.array_equal(Shelf().take(record)[1], shared)
    assert len(list(tmp_path.glob("*.array"))) == 1
    for partition in range(4):
        again.put(partition, Kept())
    again.commit(2)
    again.clean()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_array_is_found_before_anything_is_used(tmp_path: Path) -> None:
    states = ClientStates(tmp_path)
    states.put(3, with_array(np.arange(50_000, dtype=np.float32), "weights"))
    files, arrays = states.commit(1), states.arrays
    (path,) = tmp_path.glob("*.array")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match=r"\.array: is damaged: its content has the digest"):
        ClientStates(tmp_path).restore(files, 1, arrays)
    path.unlink()
    with pytest.raises(InputError, match=r"\.array: the state of client 3 cannot be read"):
        ClientStates(tmp_path).restore(files, 1, arrays)


def test_an_array_that_is_kept_again_is_the_very_same() -> None:
    """So that it is neither copied nor digested again; one that is new is."""
    memory = with_array(np.arange(50_000, dtype=np.float32), "weights").restored()
    shelf = Shelf()
    taken = shelf.take(memory.array_records["weights"])
    again = shelf.record([taken[1], np.ones(50_000, np.float32)])
    assert again["0"] is memory.array_records["weights"]["1"]
    assert Kept.of(RecordDict({"a": again})).arrays.keys() > Kept.of(memory).arrays.keys()
    assert not taken[1].flags.writeable

"""Client states: bounded in memory, whole rounds on disk."""

from __future__ import annotations

from pathlib import Path

from fedcompress.results.run.states import ClientStates


def test_what_does_not_fit_in_memory_is_read_back_from_disk(tmp_path: Path) -> None:
    states = ClientStates(tmp_path, limit=100)
    for partition in range(50):
        states.put(partition, bytes([partition]) * 30)
    assert all(states.get(partition) == bytes([partition]) * 30 for partition in range(50))
    assert len(list(tmp_path.glob("*.state"))) >= 47


def test_restore_goes_back_to_the_last_commit(tmp_path: Path) -> None:
    states = ClientStates(tmp_path, limit=10)
    states.put(0, b"first" * 3)
    files = states.commit(1)
    states.clean()
    states.put(0, b"second" * 3)
    states.put(1, b"other" * 3)
    again = ClientStates(tmp_path)
    again.restore(files, 1)
    again.clean()
    assert again.get(0) == b"first" * 3
    assert again.get(1) == b""
    assert [p.name for p in tmp_path.glob("*.state")] == list(files.values())


def test_empty_states_take_no_room(tmp_path: Path) -> None:
    states = ClientStates(tmp_path)
    states.put(3, b"")
    assert states.commit(1) == {}
    assert list(tmp_path.iterdir()) == []

"""Checkpoints: what they stand on is checked before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedcompress.errors import InputError
from fedcompress.results.run import states as states_module
from fedcompress.results.run.checkpoint import Checkpoint, Checkpoints
from fedcompress.results.run.directory import ROWS, RunDirectory
from fedcompress.wire.keeping import Kept
from fedcompress.wire.references import References

IDENTITY = {"start": "2026-01-01", "seed": 1, "scenario_digest": "s", "data_digest": "d", "plugins_digest": ""}


def make(path: Path, **identity: object) -> RunDirectory:
    """Writes a run of two rounds, with rows, references, and states of two clients."""
    directory = RunDirectory.create(path, "name = 'a'\n", {**IDENTITY, **identity})
    checkpoints = Checkpoints(directory)
    for number in (1, 2):
        for client in (0, 1):
            checkpoints.states.put(client, Kept(f"client {client} after {number} of {path.name}".encode()))
        for name in ROWS:
            directory.append(name, [{"round": number, "of": path.name}])
        held = {"mask": np.packbits([True, False, True])}
        state = {"weights": [np.arange(6, dtype=np.float32).reshape(2, 3) * number], "momentum": np.float64(0.5)}
        checkpoints.save(Checkpoint(number, state, {0: References(held, {}, number)}))
    return directory


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def state_file(path: Path, client: int) -> Path:
    (file,) = (path / "checkpoint" / "clients").glob(f"{client}-*.state")
    return file


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    a, b = one.read_bytes(), other.read_bytes()
    one.write_bytes(b)
    other.write_bytes(a)


def test_what_a_checkpoint_holds_comes_back_and_later_rows_go(tmp_path: Path) -> None:
    directory = make(tmp_path / "run")
    whole = contents(tmp_path / "run")
    directory.append("clients", [{"round": 3}])
    again = Checkpoints(directory)
    again.states.put(0, Kept(b"of a round that was not finished"))
    checkpoint = again.load()
    assert (checkpoint.round, checkpoint.state["weights"][0].tolist()) == (2, [[0, 2, 4], [6, 8, 10]])
    assert checkpoint.references[0].held["mask"].tolist() == [160]
    assert again.states.get(0) == Kept(b"client 0 after 2 of run")
    assert contents(tmp_path / "run") == whole
    directory.append("rounds", [{"round": 3}])  # and it goes on from there
    again.save(Checkpoint(3, {}, {}))
    assert Checkpoints(directory).load().round == 3


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of a state": (lambda run: flip(state_file(run, 1), 3), r"clients/1-2-\w+\.state: is damaged: its content "),
    "an emptied state": (lambda run: state_file(run, 0).write_bytes(b""), r"clients/0-2-\w+\.state: is damaged"),
    "a longer state": (
        lambda run: state_file(run, 0).write_bytes(b"client 0 after 2 of run\0"),
        r"/0-2-\w+\.state: is",
    ),
    "a lost state": (lambda run: state_file(run, 1).unlink(), r"the state of client 1 cannot be read: No such file or"),
    "swapped states": (
        lambda run: swap(state_file(run, 0), state_file(run, 1)),
        r"clients/0-2-\w+\.state: is damaged(.|\n)*clients/1-2-\w+\.state: is damaged",
    ),
    "another run's state": (
        lambda run: state_file(run, 0).write_bytes(state_file(run.with_name("other"), 0).read_bytes()),
        r"clients/0-2-\w+\.state: is damaged",
    ),
    "rows cut off": (
        lambda run: (run / "rounds.jsonl").write_bytes((run / "rounds.jsonl").read_bytes()[:-5]),
        r"rounds\.jsonl: has 47 bytes, but the rounds up to the checkpoint take 52: it was cut off",
    ),
    "no rows": (lambda run: (run / "ledger.jsonl").write_text(""), r"ledger\.jsonl: has 0 bytes, but .* take 52"),
    "lost rows": (lambda run: (run / "clients.jsonl").unlink(), r"clients\.jsonl: cannot be read: No such file"),
    "another run's rows": (
        lambda run: (run / "clients.jsonl").write_text((run.with_name("oth") / "clients.jsonl").read_text()),
        r"clients\.jsonl: is not what the run wrote up to its checkpoint",
    ),
    "an edited row": (
        lambda run: (run / "ledger.jsonl").write_text((run / "ledger.jsonl").read_text().replace("2", "7", 1)),
        r"ledger\.jsonl: is not what the run wrote",
    ),
    "another run's checkpoint": (
        lambda run: (run / "checkpoint/round.npz").write_bytes(
            (run.with_name("oth") / "checkpoint/round.npz").read_bytes()
        ),
        r"round\.npz: is of another run than .*provenance\.json, by its start, scenario_digest; put back",
    ),
    "another provenance": (
        lambda run: (run / "provenance.json").write_text(json.dumps({**IDENTITY, "seed": 2})),
        r"round\.npz: is of another run than .*provenance\.json, by its seed",
    ),
    "a bit of the server's state": (
        lambda run: flip(run / "checkpoint/round.npz", (run / "checkpoint/round.npz").read_bytes().index(b"\0\0 A")),
        r"round\.npz cannot be read: Bad CRC-32",
    ),
    "half a checkpoint": (
        lambda run: (run / "checkpoint/round.npz").write_bytes((run / "checkpoint/round.npz").read_bytes()[:700]),
        r"round\.npz cannot be read",
    ),
    "a lost checkpoint": (lambda run: (run / "checkpoint/round.npz").unlink(), r"round\.npz cannot be read"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_before_anything_is_changed(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    directory = make(tmp_path / "run")
    make(tmp_path / "other")
    make(tmp_path / "oth", start="2026-01-02", scenario_digest="t")
    damage(tmp_path / "run")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=message):
        Checkpoints(directory).load()
    assert contents(tmp_path) == before


def test_a_checkpoint_without_digests_is_refused_in_clear_words(tmp_path: Path) -> None:
    directory = make(tmp_path / "run")
    path = tmp_path / "run" / "checkpoint" / "round.npz"
    shape = json.dumps({"round": 1, "state": {}, "references": {}, "clients": {}, "lengths": {}}).encode()
    np.savez(path, shape=np.frombuffer(shape, np.uint8))
    with pytest.raises(
        InputError, match=r"has no digest: an earlier version of fedcompress wrote it\. Start a new run"
    ):
        Checkpoints(directory).load()


def test_a_lost_checkpoint_does_not_take_its_rounds_with_it(tmp_path: Path) -> None:
    directory = make(tmp_path / "run")
    (tmp_path / "run" / "checkpoint" / "round.npz").unlink()
    before = contents(tmp_path)
    with pytest.raises(
        InputError, match=r"round\.npz: is absent, though rows of 2 rounds are written; start a new run"
    ):
        Checkpoints(directory).reset()
    assert contents(tmp_path) == before


def test_only_what_changed_is_hashed_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round in which one of 50 clients takes part costs one state of 1,000 bytes, and its own rows."""
    hashed: list[int] = []
    original = states_module.digest_of
    monkeypatch.setattr(states_module, "digest_of", lambda state: hashed.append(len(state)) or original(state))
    directory = RunDirectory.create(tmp_path / "run", "", IDENTITY)
    checkpoints = Checkpoints(directory)
    for client in range(50):
        checkpoints.states.put(client, Kept(bytes(1000)))
    checkpoints.save(Checkpoint(1, {}, {}))
    assert hashed == [1000] * 50
    checkpoints.states.put(7, Kept(bytes([1]) * 1000))
    checkpoints.save(Checkpoint(2, {}, {}))
    assert hashed == [1000] * 51

"""Replies in bounded memory: what is on disk is as it was, and is read only when it is asked for."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fedcompress.errors import RunError
from fedcompress.link import spool
from fedcompress.link.spool import Spool, Stored
from federating import PRUNING, experiment, run

PAYLOAD = {
    "weights": [np.arange(12, dtype=np.float32).reshape(3, 4).T, np.float32(2.5).reshape(()), np.zeros((0, 3))],
    "mask": [np.array([True, False, True])],
}
SIZE = 12 * 4 + 4 + 3


def test_what_fits_stays_as_it_is_and_the_rest_goes_to_the_file() -> None:
    spool = Spool(limit=2 * SIZE)
    first, second, third = (spool.put(PAYLOAD) for _ in range(3))
    assert first is PAYLOAD
    assert second is PAYLOAD
    assert isinstance(third, Stored)


def test_the_file_gives_back_the_same_arrays_each_time_anew() -> None:
    stored = Spool(limit=0).put(PAYLOAD)
    assert list(stored) == ["weights", "mask"]
    assert (len(stored), "mask" in stored, stored.get("logits")) == (2, True, None)
    for name, arrays in PAYLOAD.items():
        for _ in range(2):
            read = stored[name]
            assert [(a.dtype, a.shape) for a in read] == [(a.dtype, a.shape) for a in arrays]
            assert all(map(np.array_equal, read, arrays))
    stored["weights"][0][:] = 9
    assert stored["weights"][0][0, 0] == 0


def test_payloads_do_not_overlap_in_the_file() -> None:
    spool = Spool(limit=0)
    stored = [spool.put({"weights": [np.full(n + 1, n, np.float32)]}) for n in range(5)]
    assert [payload["weights"][0].tolist() for payload in reversed(stored)] == [[n] * (n + 1) for n in range(4, -1, -1)]


def test_the_model_is_the_same_with_replies_in_memory_and_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for limit in (spool.MEMORY_LIMIT, 0):
        monkeypatch.setattr(spool, "MEMORY_LIMIT", limit)
        table = {**PRUNING, "data": {"dataset": "digits", "clients": 4}}
        digests.append(run(experiment(table), tmp_path / str(limit))[0]["model_digest"])
    assert digests[0] == digests[1]


def test_threads_may_read_at_once() -> None:
    spool = Spool(limit=0)
    stored = [spool.put({"weights": [np.full(1000 + n, n, np.float32)] * 4}) for n in range(8)]

    def right(n: int) -> bool:
        return all(np.array_equal(a, np.full(1000 + n, n, np.float32)) for _ in range(50) for a in stored[n]["weights"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(right, range(8))) == [True] * 8


def test_a_temporary_folder_that_takes_nothing_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(RunError) as caught:
        Spool(limit=0).put(PAYLOAD)
    assert str(caught.value) == (
        "what clients returned cannot be kept in a temporary file in /nowhere: No such file or directory; "
        "make room there, or set TMPDIR to another folder, and resume the run."
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_noticed_when_a_payload_is_put(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: Path("/dev/full").open("wb+"))  # noqa: SIM115
    with pytest.raises(RunError, match="No space left on device; make room there"):
        Spool(limit=0).put(PAYLOAD)

"""The provenance of runs as a paragraph."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

MakeSweep = Callable[..., Path]


def test_a_paragraph_says_what_runs_were_made_with(make_sweep: MakeSweep, call: Callable[..., Any]) -> None:
    """What two runs have in common is said once, what differs is listed, and LaTeX gets no markup by accident."""
    path = make_sweep("sweep", {"iid": (0.5, 0.6), "dirichlet_0.1": (0.4, 0.5)}, seeds=(1, 2))
    made_with = {
        "versions": {"fedcompress": "0.1.0", "flwr": "1.41.0", "ray": "2.55.1", "python": "3.11.7"},
        "commit": "0123456789abcdef",
        "dirty": False,
        "machine": {"system": "Linux", "processor": "x86_64", "cores": 2},
        "command": ["/usr/bin/fedcompress", "run", "skew.toml"],
    }
    for number, run in enumerate(sorted(path.glob("*-seed-*"))):
        file = run / "provenance.json"
        changed = {"engine": "inline", "workers": 1 + number // 3, "start": f"2026-11-2{number}T08:00:00+00:00"}
        file.write_text(json.dumps(json.loads(file.read_text()) | made_with | changed), encoding="utf-8")
        summary = run / "summary.json"
        summary.write_text(json.dumps(json.loads(summary.read_text()) | {"model_digest": str(number) * 64}))
    done = call("provenance", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(
        "All results are of 4 simulated federations, made with fedcompress 0.1.0 (commit 0123456789ab), Flower 1.41.0, "
        "Python 3.11.7. iid, dirichlet_0.1: seeds 1, 2. The data are digits (SHA-256 "
    )
    assert (
        "They ran on Linux (x86_64, 2 cores), with the engine inline (2 workers) or inline (1 worker), " not in done.out
    )
    assert "with the engine inline (1 worker) or inline (2 workers), from 2026-11-20 to 2026-11-23." in done.out
    assert "Commands: fedcompress run skew.toml. SHA-256 of the final weights: iid, seed 1: 222222222222, " in done.out
    assert done.out.count("\n") == 1
    assert r"dirichlet\_0.1" in call("provenance", path, "--latex").out
    done = call("provenance", "nowhere")
    assert (done.code, done.err.splitlines()) == (
        2,
        ["error: nowhere: does not exist; expected the directory of a run or a sweep, made by fedcompress run."],
    )

"""Engine superlink: Flower's own runtime on loopback gives the same bits, and nothing that it started stays behind.

A round takes 10 to 50 s here: Flower starts a process for every message, and each imports TensorFlow.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedcompress import flower_app
from fedcompress.devices import DEVICES
from fedcompress.engines import deployment
from fedcompress.engines.grid import identify
from fedcompress.engines.run_config import CONFIG, experiment_of
from fedcompress.engines.superlink import SuperLinkEngine
from fedcompress.errors import InputError, RunError
from fedcompress.launch import resume_one, run_one
from fedcompress.options import Options
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from fedcompress.wire.payload import encode_payload, present
from fedcompress.wire.records import to_record
from federating import BY_WRITER, FEDPKDG, OF_PLUG_INS, PLUGINS, TINY, experiment, of_zoo
from proposers import proposed
from waiting import until

Started = Callable[[], dict[int, str]]
PROGRAM = str(Path(sys.executable).with_name("fedcompress"))
SUPERLINK = Options(engine="superlink", plugins=(PLUGINS,))
MIXED: dict[str, Any] = {
    "rounds": 2,
    "evaluation": {"tflite": True},
    "wire": {"values": "int8"},
    "groups": [
        {"name": "dense", "share": 0.5, "model": "mini-cnn"},
        {"name": "pruned", "share": 0.5, "model": "lenet5", "compression": "magnitude", "sparsity": 0.8},
    ],
}


def scenario(table: Mapping[str, Any] = MIXED, **overrides: Any) -> Scenario:
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return Scenario.parse({**TINY, **table}, dotted)


def groups(*faults: str) -> dict[str, Any]:
    """Returns groups of one client each, named after what goes wrong with it."""
    share, faulty = 1 / len(faults), {"client": "faulty", "model": "mini-cnn"}
    named = [{"name": f"{i}-{fault}", "share": share, "model": "mini-cnn"} for i, fault in enumerate(faults)]
    return {
        "data": {"dataset": "mnist-5k", "clients": len(faults)},
        "groups": [
            g if fault in ("good", "node-killed") else {**g, **faulty, "params": {"fault": fault, "everywhere": True}}
            for g, fault in zip(named, faults, strict=True)
        ],
    }


def rows(directory: RunDirectory) -> dict[tuple[int, str], tuple[str, str | None]]:
    """Returns (round, name of the group without its number) -> (status, error)."""
    return {(row["round"], row["group"][2:]): (row["status"], row["error"]) for row in directory.rows("clients")}


class Seen(Observer):
    """An observer that remembers the rounds it is told of."""

    def __init__(self) -> None:
        self.first = 0
        self.rounds: list[int] = []

    def started(self, experiment: Any, before: Sequence[dict[str, Any]]) -> None:
        self.first = len(before) + 1

    def round_done(self, row: dict[str, Any]) -> None:
        self.rounds.append(row["round"])


class KillsNode(Observer):
    """An observer that kills the SuperNode of a partition after the first round."""

    def __init__(self, started: Started, partition: int) -> None:
        self.alive, self.partition = started, partition

    def round_done(self, row: dict[str, Any]) -> None:
        if row["round"] == 1:
            nodes = [p for p, command in self.alive().items() if f"partition-id={self.partition} " in command]
            (node,) = nodes
            os.kill(node, signal.SIGKILL)


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("inline") / "run"
    run_one(scenario(), path)
    return RunDirectory(path)


def relevant(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what has to be equal on every engine: all but times."""
    return {key: value for key, value in row.items() if not key.endswith("seconds")}


@pytest.mark.slow
def test_the_same_bits_and_files_as_inline(inline: RunDirectory, tmp_path: Path, started: Started) -> None:
    """Only envelopes differ: Flower's node ids are longer than ours."""
    seen = Seen()
    summary = run_one(scenario(), tmp_path / "run", SUPERLINK, seen)
    assert started() == {}
    directory, expected = RunDirectory(tmp_path / "run"), inline.read_json("summary.json")
    assert (seen.first, seen.rounds) == (1, [1, 2])
    assert summary == directory.read_json("summary.json")
    assert summary["model_digest"] == expected["model_digest"]
    assert (summary["engine"], summary["status"]) == ("superlink", "completed")
    assert directory.read_json("provenance.json")["engine"] == "superlink"
    assert directory.read_json("provenance.json")["end"] is not None
    files = [sorted(str(p.relative_to(d.path)) for p in d.path.rglob("*")) for d in (directory, inline)]
    assert files[0] == [name for name in files[1] if not name.startswith("checkpoint/clients")]
    assert list(map(relevant, directory.rows("clients"))) == list(map(relevant, inline.rows("clients")))
    ledgers = [[row for row in d.rows("ledger") if row["content"] != "envelope"] for d in (directory, inline)]
    assert ledgers[0] == ledgers[1]


@pytest.mark.slow
def test_early_stop_devices_and_tracking_are_those_of_inline(tmp_path: Path, started: Started) -> None:
    """Two clients on devices, the weaker of which the deadline drops; the target ends the run after its first round."""
    pytest.importorskip("tensorboard")
    weak = {**DEVICES["phone-low"].model_dump(), "multiply_adds_per_second": 1.0, "dropout": 0.0}
    table = {
        "rounds": 3,
        "data": {"dataset": "digits", "clients": 2},
        "server": {"deadline": 60.0},
        "stop": {"target": 0.01},
        "tracking": {"trackers": ["tensorboard"]},
        "devices": {"weak": weak, "strong": {**weak, "multiply_adds_per_second": 1e12, "spread": 0.0}},
        "groups": [{"name": n, "share": 0.5, "model": "mini-cnn", "device": n} for n in ("strong", "weak")],
    }
    found = []
    for options in (Options(), SUPERLINK):
        path = tmp_path / options.engine
        summary = run_one(scenario(table), path, options)
        events = sorted(str(file.parent.relative_to(path)) for file in path.rglob("events.out.tfevents*"))
        kept = {key: summary[key] for key in ("rounds", "stopped", "modelled", "model_digest")}
        found.append((kept, events, list(map(relevant, RunDirectory(path).rows("clients")))))
    assert started() == {}
    assert found[0] == found[1]
    assert found[0][0]["stopped"]["because"] == "target"
    assert (found[0][0]["rounds"], found[0][0]["modelled"]["late"]) == (1, 1)
    assert found[0][1]


@pytest.mark.slow
@pytest.mark.parametrize("table", [FEDPKDG, BY_WRITER], ids=["fedpkdg", "by-writer"])
def test_knowledge_and_plug_ins_give_the_same_model_as_inline(
    tmp_path: Path, started: Started, table: dict[str, Any]
) -> None:
    """Pruned clients, generators, a rolling buffer, state that nodes keep; a data set and a partition of one's own."""
    summaries = [
        run_one(scenario(table, rounds=2, data__clients=2), tmp_path / options.engine, options)
        for options in (Options(plugins=(PLUGINS,)), SUPERLINK)
    ]
    assert started() == {}
    assert summaries[0]["model_digest"] == summaries[1]["model_digest"]
    assert summaries[0]["uplink_bytes"] > 0


@pytest.mark.slow
def test_masks_of_a_proposer_are_those_of_inline(
    tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is the server's, which works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    table = {**proposed(Path("made.npz"), clients=2), "rounds": 2}
    summaries = [run_one(scenario(table), tmp_path / o.engine, o) for o in (Options(plugins=(PLUGINS,)), SUPERLINK)]
    assert started() == {}
    assert summaries[0]["model_digest"] == summaries[1]["model_digest"]
    assert summaries[0]["groups"]["quarter"]["sparsity"] > 0.5


@pytest.mark.slow
def test_value_types_of_plug_ins_give_the_same_model_as_inline(tmp_path: Path, started: Started) -> None:
    """Each process finds them in the folder of plug-ins."""
    summaries = [
        run_one(scenario(wire=OF_PLUG_INS, data__clients=2), tmp_path / options.engine, options)
        for options in (Options(plugins=(PLUGINS,)), SUPERLINK)
    ]
    assert started() == {}
    assert summaries[0]["model_digest"] == summaries[1]["model_digest"]
    ledgers = [RunDirectory(tmp_path / engine).rows("ledger") for engine in ("inline", "superlink")]
    contents = [[row for row in ledger if row["content"] != "envelope"] for ledger in ledgers]
    assert contents[0] == contents[1]
    assert {row["content"] for row in contents[0]} >= {"weights", "mask"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ("lstm", "dropout", "augmentation"),
        ("gru", "embedding", "nested"),
        ("depthwise", "separable", "spatial-dropout", "noise"),
    ],
    ids=" ".join,
)
def test_random_layers_and_initial_weights_are_those_of_inline(
    tmp_path: Path, started: Started, names: tuple[str, ...]
) -> None:
    """Each message has a process of its own: nothing can come from what was built or drawn before in it."""
    summaries = [
        run_one(scenario(of_zoo(*names)), tmp_path / options.engine, options)
        for options in (Options(plugins=(PLUGINS,)), SUPERLINK)
    ]
    assert started() == {}
    assert summaries[0]["model_digest"] == summaries[1]["model_digest"]


@pytest.mark.slow
def test_a_run_whose_driver_was_killed_is_resumed_to_the_same_bits(
    inline: RunDirectory, tmp_path: Path, started: Started
) -> None:
    file, path = tmp_path / "mixed.toml", tmp_path / "run"
    file.write_text(tomli_w.dumps(scenario().table()), encoding="utf-8")
    driver = subprocess.Popen([PROGRAM, "run", str(file), "--engine", "superlink", "--out", str(path)])
    until(lambda: (path / "checkpoint" / "round.npz").exists() or driver.poll() is not None, limit=600)
    assert driver.poll() is None
    driver.kill()
    driver.wait()
    until(lambda: not started())
    assert len(RunDirectory(path).rows("rounds")) == 1
    seen = Seen()
    summary = resume_one(path, seen)
    assert (seen.first, seen.rounds) == (2, [2])
    assert summary["model_digest"] == inline.read_json("summary.json")["model_digest"]
    assert started() == {}


@pytest.mark.slow
def test_a_client_that_raises_and_a_node_that_is_killed_cost_themselves(tmp_path: Path, started: Started) -> None:
    """A SuperNode that is killed is noticed when its heartbeats stay away for 60 s, or at `[server] timeout`."""
    made = scenario(groups("good", "quit", "raise", "node-killed"), rounds=2, server__timeout=150.0)
    built = experiment_of({"scenario-toml": made.toml(), "plugins": str(PLUGINS)})
    (killed,) = built.groups["3-node-killed"].clients
    summary = run_one(made, tmp_path / "run", SUPERLINK, KillsNode(started, killed))
    assert started() == {}
    assert summary["status"] == "completed"
    found = rows(RunDirectory(tmp_path / "run"))
    for number in (1, 2):
        assert found[number, "good"] == ("ok", None)
        assert found[number, "raise"][0] == "failed"
        assert "sensor unplugged" in str(found[number, "raise"][1])
        assert found[number, "quit"][0] == "failed"
        assert "SystemExit: 0" in str(found[number, "quit"][1])
    assert found[1, "node-killed"] == ("ok", None)
    assert found[2, "node-killed"][0] in ("failed", "lost")


@pytest.mark.slow
def test_a_client_that_hangs_and_one_that_exits_cost_themselves(tmp_path: Path, started: Started) -> None:
    """A client process that is gone is noticed when its heartbeats stay away for 60 s, or at `[server] timeout`."""
    made = scenario(groups("good", "hang", "exit"), rounds=1, server__timeout=120.0)
    summary = run_one(made, tmp_path / "run", SUPERLINK)
    assert started() == {}
    assert summary["status"] == "completed"
    found = rows(RunDirectory(tmp_path / "run"))
    assert found[1, "good"] == ("ok", None)
    assert found[1, "hang"] == ("lost", "no reply within the time limit")
    assert found[1, "exit"][0] in ("failed", "lost")


@pytest.mark.slow
def test_a_server_that_fails_is_a_failed_run(tmp_path: Path, started: Started) -> None:
    """Flower's command line ends with 0 then; what counts is the status of the run."""
    with pytest.raises(RunError, match=r"0 good replies of 2, server.minimum_replies is 1.*sensor unplugged"):
        run_one(scenario(groups("raise", "raise"), rounds=1), tmp_path / "run", SUPERLINK)
    assert started() == {}
    assert RunDirectory(tmp_path / "run").read_json("summary.json")["status"] == "failed"


def test_too_many_clients_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    many = scenario(TINY, data__clients=33)
    with pytest.raises(InputError, match=r"engine superlink: 33 clients .* expected at most 32"):
        run_one(many, tmp_path / "run", SUPERLINK)
    assert not (tmp_path / "run").exists()


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "_search_path", lambda: "")
    with pytest.raises(InputError, match="the program flwr is not found"):
        SuperLinkEngine(SUPERLINK).check_clients(1)


@pytest.mark.parametrize("table", [MIXED, BY_WRITER], ids=["mixed", "by-writer"])
def test_both_sides_build_the_same_experiment(table: dict[str, Any]) -> None:
    made = experiment(table)
    config = {"scenario-toml": made.scenario.toml(), "data-digest": made.data.digest, "plugins": str(PLUGINS)}
    built = experiment_of(config)
    assert built.scenario.digest == made.scenario.digest
    assert built.clients == made.clients
    assert built.plugins.digest == made.plugins.digest
    assert experiment_of(dict(config)) is built


def test_a_scenario_may_be_a_file_of_the_app(tmp_path: Path) -> None:
    assert experiment_of({}).scenario.name == "flower-app"
    (tmp_path / "mine.toml").write_text(scenario().toml(), encoding="utf-8")
    assert experiment_of({"scenario": str(tmp_path / "mine.toml")}).scenario.name == "tiny"


def test_what_a_host_has_of_its_own_wins() -> None:
    with pytest.raises(InputError, match="nowhere"):
        experiment_of({}, {"partition-id": 0, "data-dir": "nowhere"})


def test_other_data_are_refused() -> None:
    with pytest.raises(InputError, match=r"data-digest: this host's data has \w{64}, expected 123"):
        experiment_of({"data-digest": "123"})


def test_a_sweep_is_refused() -> None:
    with pytest.raises(InputError, match="a Flower app is one run"):
        experiment_of({"scenario-toml": scenario({"sweep": {"seeds": [1, 2]}}).toml()})


class _Nodes:
    def __init__(self, *counts: int) -> None:
        self.counts = list(counts)

    def get_node_ids(self) -> list[int]:
        return list(range(self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]))


def test_nodes_are_waited_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flower_app.wait_for_nodes(_Nodes(0, 1, 2), 2)  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines()[-1] == "waiting for a SuperNode for each of 2 clients, found 1"
    monkeypatch.setattr(flower_app, "START_LIMIT", 0.0)
    with pytest.raises(RunError, match=r"found 1 after 0 s; .* num-supernodes=2"):
        flower_app.wait_for_nodes(_Nodes(1), 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(("strategy", "action", "keeps"), [("local", "train_alone", True), ("fedavg", "train", False)])
def test_a_run_whose_clients_keep_state_is_not_resumed(tmp_path: Path, strategy: str, action: str, keeps: bool) -> None:
    """The client leaves a mark; the masks of a pruning client are no such state, since they are sent anew."""
    made = scenario({**MIXED, "server": {"strategy": strategy}})
    directory = RunDirectory.create(tmp_path / "run", made.toml(), {})
    config = {**CONFIG, "scenario-toml": made.toml(), "out": str(directory.path)}
    pruned = experiment_of(config).groups["pruned"]
    weights = {"weights": pruned.model.template} if action == "train" else {}
    contents = present(weights, experiment_of(config).contents(pruned))
    blobs = {k: e.data for k, e in encode_payload(weights, contents, experiment_of(config).wire).items()}
    request = ConfigRecord({"round": 1, "fresh": True})
    identify()
    message = Message(
        RecordDict({"payload": to_record(blobs), "request": request}), dst_node_id=2, message_type=f"train.{action}"
    )
    context = Context(1, 2, {"partition-id": pruned.clients[0]}, RecordDict(), config)
    assert flower_app.client(message, context).has_content()
    assert len(context.state) > 0
    engine = SuperLinkEngine(SUPERLINK)
    (directory.path / "checkpoint").mkdir(exist_ok=True)
    engine.check_resumable(directory)  # no round has been finished: it starts anew
    (directory.path / "checkpoint" / "round.npz").touch()
    if keeps:
        with pytest.raises(InputError, match="its clients keep state, which was on the SuperNodes"):
            engine.check_resumable(directory)
    else:
        engine.check_resumable(directory)

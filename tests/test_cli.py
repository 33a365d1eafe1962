"""The command line: what it prints where, what it writes, and with which code it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import pytest
import tomli_w

from fedcompress import __version__, environment
from fedcompress.cli.app import COMMANDS
from fedcompress.cli.doctor import report
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario

PROGRAM = str(Path(sys.executable).with_name("fedcompress"))
LOUD = {name: value for name, value in os.environ.items() if name not in environment.VARIABLES}
"""The environment of a user, in which nothing has been silenced yet."""


class Done(Protocol):
    """How a command ended."""

    code: int
    out: str
    err: str


class Call(Protocol):
    """Runs a command in this process, in the test's own folder."""

    def __call__(self, *arguments: object) -> Done: ...


def files(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def refused(done: Done) -> list[str]:
    """Returns the messages of a command that ended for bad input."""
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert lines
    assert all(line.startswith("error: ") for line in lines)
    return [line.removeprefix("error: ") for line in lines]


BAD = {
    "unknown key": (["--set", "data.cliens=3"], ["data.cliens: unknown key. Did you mean 'clients'?"]),
    "wrong type": (["--set", "rounds=many"], ["rounds: received 'many'; input should be a valid integer."]),
    "several": (
        ["--set", "rounds=0", "--set", "groups.dense.sparsity=1"],
        [
            "rounds: received 0; input should be greater than or equal to 1.",
            "groups.dense.sparsity: received 1; input should be less than 1.",
        ],
    ),
    "shares": (
        ["--set", "groups.dense.share=0.5"],
        ["groups: shares have to sum to 1, received 0.5 + 0.33 = 0.83."],
    ),
    "sparsity": (
        ["--set", "groups.pruned.sparsity=1.0"],
        ["groups.pruned.sparsity: received 1.0; input should be less than 1."],
    ),
    "data set": (
        ["--set", "data.dataset=digit"],
        ["data.dataset: unknown data set 'digit'. Did you mean 'digits'?"],
    ),
    "model": (
        ["--set", "groups.dense.model=minicnn"],
        ["groups.dense.model: unknown model 'minicnn'. Did you mean 'mini-cnn'?"],
    ),
    "strategy": (
        ["--set", "server.strategy=fed-avg"],
        ["server.strategy: unknown server strategy 'fed-avg'. Did you mean 'fedavg'?"],
    ),
    "client": (
        ["--set", "groups.dense.client=fedprx"],
        ["groups.dense.client: unknown client strategy 'fedprx'. Did you mean 'fedprox'?"],
    ),
    "parameter": (
        ["--set", "server.params.plian=true"],
        ["server.params.plian: unknown parameter. Did you mean 'plain'?"],
    ),
    "group": (
        ["--set", "groups.prned.sparsity=0.1"],
        ["groups.prned.sparsity: no group is named 'prned'. Did you mean 'pruned'?"],
    ),
    "clients": (
        ["--set", "data.clients=684"],
        ["684 clients x at least 2 examples are 1368, but there are only 1366 examples; lower clients or minimum."],
    ),
    "empty group": (
        ["--set", "data.clients=1"],
        ["groups.pruned.share: 0.33 of 1 client gives it none; raise it, or data.clients."],
    ),
    "never pruned": (
        ["--set", "groups.dense.sparsity=0.5"],
        [
            "groups.dense.sparsity: received 0.5, but compression 'none' never prunes in 2 rounds; "
            'use compression = "magnitude", or sparsity = 0.'
        ],
    ),
    "mask": (
        ["--set", "server.strategy=local", "--set", "groups.pruned.compression_params.mask=server"],
        ["groups.pruned.compression_params.mask: strategy 'local' does not hand out masks; use mask = \"client\"."],
    ),
    "assignment": (
        ["--set", "rounds"],
        ["--set rounds: expected KEY=VALUE, for example --set training.epochs=3."],
    ),
    "data folder": (["--data-dir", "nowhere"], ["--data-dir is 'nowhere', which is not a folder."]),
    "plug-in folder": (
        ["--plugins", "nowhere"],
        [
            "--plugins nowhere: expected a folder that holds at least one of strategies/, clients/, models/, "
            "datasets/, compression/, methods/, partitions/, values/."
        ],
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), BAD.values(), ids=BAD)
def test_bad_input_ends_with_2_and_writes_nothing(
    call: Call, tiny_file: Path, arguments: list[str], expected: list[str]
) -> None:
    before = files(tiny_file.parent)
    assert refused(call("run", tiny_file, "--out", "out", "--json", *arguments)) == expected
    assert refused(call("run", tiny_file, *arguments)) == expected  # nor into runs/
    assert files(tiny_file.parent) == before


@pytest.mark.parametrize("command", ["run", "show"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.toml", None, "absent.toml: cannot be read: No such file or directory. Expected a TOML scenario."),
        (
            "quickstrat",
            None,
            "quickstrat: no such file, and no scenario of that name ships. Did you mean 'quickstart'?",
        ),
        ("latin1.toml", b'name = "\xe9"', "latin1.toml: cannot be read: it is not UTF-8 text."),
        ("broken.toml", b"name = 'a'\nrounds 3\n", "broken.toml: is not valid TOML: "),
        ("empty.toml", b"", "name: is missing."),
    ],
)
def test_scenarios_that_cannot_be_read(
    call: Call, tmp_path: Path, command: str, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = files(tmp_path)
    (problem,) = refused(call(command, name))
    assert problem.startswith(message)
    assert files(tmp_path) == before


def test_an_output_directory_in_use(call: Call, tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "precious").write_text("mine")
    before = files(tmp_path)
    for out, message in {
        "used": "--out used: is in use; name a directory that is new or empty.",
        "tiny.toml": "--out tiny.toml: is a file; name a directory that is new or empty.",
        "tiny.toml/run": "--out tiny.toml/run: cannot be written: Not a directory.",
    }.items():
        assert refused(call("run", tiny_file, "--out", out)) == [message]
    assert files(tmp_path) == before


USAGE = {
    "command": (["rnu"], ["No such command 'rnu'", "Did you mean 'run'?"]),
    "scenario": (["run"], ["Missing argument 'SCENARIO'."]),
    "option": (["run", "tiny.toml", "--sede", "3"], ["No such option", "--sede", "--seed"]),
    "seed": (["run", "tiny.toml", "--seed", "-1"], ["'--seed'", "-1 is not in the range x>=0."]),
    "workers": (["run", "tiny.toml", "--workers", "0"], ["'--workers'", "0 is not in the range x>=1."]),
    "engine": (["run", "tiny.toml", "--engine", "rya"], ["'--engine'", "'rya' is not", "'inline'"]),
}


@pytest.mark.parametrize(("arguments", "parts"), USAGE.values(), ids=USAGE)
def test_usage_errors_end_with_2_and_write_nothing(
    call: Call, tiny_file: Path, arguments: list[str], parts: list[str]
) -> None:
    before = files(tiny_file.parent)
    done = call(*arguments)
    assert (done.code, done.out) == (2, "")
    words = " ".join(re.sub(r"[^ -~]", " ", done.err).split())  # a frame may be drawn around it
    assert [part for part in parts if part not in words] == []
    assert "Traceback" not in words
    assert files(tiny_file.parent) == before


def test_usage_errors_look_like_all_others(call: Call) -> None:
    assert refused(call("rnu")) == ["No such command 'rnu'. Did you mean 'run'?"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("groups.dense.modle", "mini-cnn", "groups.dense.modle: unknown key. Did you mean 'model'?"),
        ("groups.dense.model", "minicnn", "groups.dense.model: unknown model 'minicnn'. Did you mean 'mini-cnn'?"),
        ("data.clients", 2000, "there are only 1366 examples; lower clients or minimum."),
    ],
)
def test_a_bad_variant_is_refused_before_the_first_one_runs(
    call: Call, tiny: dict[str, Any], tmp_path: Path, key: str, value: object, message: str
) -> None:
    """Its keys, its names and its data: nothing is written before every run is known to be right."""
    variants = [{"name": "good"}, {"name": "bad", "set": {key: value}}]
    (tmp_path / "sweep.toml").write_text(tomli_w.dumps({**tiny, "rounds": 1, "sweep": {"variants": variants}}))
    (problem,) = refused(call("run", "sweep.toml", "--out", "out"))
    assert problem.endswith(message)
    assert not (tmp_path / "out").exists()


def test_a_plot_that_cannot_be_written(call: Call, tiny_file: Path, tmp_path: Path) -> None:
    done = call("show", tiny_file, "--plot", tmp_path)  # a folder
    assert done.code == 2
    assert done.err.startswith(f"error: --plot {tmp_path}: ")


def test_a_server_strategy_that_raises_is_a_failed_run(call: Call, tiny_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine" / "strategies" / "broken.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from strategies.fedavg import FedAvg\nclass Broken(FedAvg):\n"
        "    def round(self, fed, state):\n        raise ValueError('an algorithm with a bug')\n"
    )
    overrides = ("--set", "server.strategy=broken", "--set", "rounds=1")
    done = call("run", tiny_file, "--plugins", "mine", "--out", "out", *overrides)
    assert done.code == 1
    assert "an algorithm with a bug" in done.err
    assert RunDirectory(tmp_path / "out").read_json("summary.json")["status"] == "failed"


def test_what_a_client_says_does_nothing_to_a_terminal(call: Call, tiny: dict[str, Any], tmp_path: Path) -> None:
    """One line, with escapes instead of colours, and markup as it is."""
    plugins = Path(__file__).parent / "plugins"
    groups = [{"name": "all", "model": "mini-cnn", "client": "misbehaving", "params": {"what": "surrogate"}}]
    (tmp_path / "said.toml").write_text(tomli_w.dumps({**tiny, "rounds": 1, "groups": groups}))
    done = call("run", "said.toml", "--plugins", plugins, "--out", "out")
    assert done.code == 1
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert (
        "Reasons: ValueError: \\ud800 and \\x1b[31m red\\x07 [bold]not bold[/bold]; the server had sent weights: "
        in line
    )
    assert "\x1b" not in done.err
    done.err.encode("utf-8", "strict")


def test_a_sweep_of_failed_runs_has_failed(call: Call, tiny: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "mine" / "clients" / "broken.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from clients.sgd import SGD\nfrom fedcompress.client import action\nclass Broken(SGD):\n    @action\n"
        "    def train(self, payload, round_number):\n        raise ValueError('a client with a bug')\n"
    )
    groups = [{"name": "all", "model": "mini-cnn", "client": "broken"}]
    table = {**tiny, "rounds": 1, "groups": groups, "sweep": {"seeds": [1]}}
    (tmp_path / "sweep.toml").write_text(tomli_w.dumps(table))
    done = call("run", "sweep.toml", "--plugins", "mine", "--out", "out")
    assert "no run of 1 variant is completed" in done.out
    assert (done.code, "a client with a bug" in done.err) == (1, True)


def test_version(call: Call) -> None:
    assert call("--version") == (0, f"fedcompress {__version__}\n", "")


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fedcompress.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"fedcompress {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_what_its_options_are(name: str) -> None:
    """Its file is found by its name when it is called, so nothing else would notice before a user does."""
    command = import_module(f"fedcompress.cli.{name}").command
    assert get_type_hints(command) == {"args": COMMANDS[name], "return": type(None)}


def test_completions() -> None:
    """Of commands, options and engines, as a shell asks for them."""
    for words, expected in {
        "fedcompress co": "compare compress",
        "fedcompress resume --": "--json --explain --help",
        "fedcompress run --engine ": "inline ray superlink",
    }.items():
        asked = {
            "_FEDCOMPRESS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        done = subprocess.run([PROGRAM], env={**LOUD, **asked}, capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected.split()


def test_no_arguments_show_the_help(call: Call) -> None:
    done = call()
    assert "Usage" in done.out + done.err
    assert {"run", "list", "show", "doctor"} <= set((done.out + done.err).split())


def test_help_answers_at_once() -> None:
    """Its time goes into imports: some 330 modules of Python, typer and rich are 0.3 s, numpy would be 170 more."""
    environment = {**LOUD, "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([PROGRAM, "--help"], env=environment, capture_output=True, text=True, check=True)
    assert "Run a scenario" in done.stdout
    imports = done.stderr.splitlines()
    assert all(line.startswith("import time:") for line in imports), done.stderr
    assert 0 < len(imports) < 400


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "models"]])
def test_what_answers_at_once_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['fedcompress', *{arguments!r}]; from fedcompress.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "heavy = ('tensorflow', 'tf_keras', 'flwr', 'ray', 'pandas', 'plotly', 'numpy')\n"
        "print(*[name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=LOUD, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_list(call: Call) -> None:
    done = call("list")
    assert (done.code, done.err) == (0, "")
    listed: dict[str, list[str]] = {}
    title = ""
    for line in done.out.splitlines():
        if line.startswith("  "):
            listed[title].append(line.strip())
        else:
            title = line
            listed[title] = []
    assert {"fedavg", "flower", "local", "centralized"} <= set(listed["strategies"])
    assert {"sgd", "fedprox"} <= set(listed["clients"])
    assert {"none", "magnitude"} <= set(listed["compression"])
    assert {"digits", "mnist-5k", "fashion-mnist", "npz"} <= set(listed["datasets"])
    assert listed["partitions"] == ["dirichlet", "feature", "iid", "natural", "pathological", "quantity", "shard"]
    assert "quickstart" in listed["scenarios"]
    for kind, names in listed.items():
        assert call("list", kind, "--names") == (0, "".join(f"{name}\n" for name in names), "")


def test_list_models(call: Call) -> None:
    found = call("list", "models", "--names").out.split()
    assert {"mini-cnn", "small-cnn", "medium-cnn", "big-cnn", "lenet5", "mlp"} <= set(found)
    assert found == sorted(found)


def test_list_something_else(call: Call) -> None:
    assert refused(call("list", "modles")) == ["list modles: unknown. Did you mean 'models'?"]


def test_list_knows_plug_ins(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine" / "models").mkdir(parents=True)
    (tmp_path / "mine" / "models" / "my_net.py").write_text("raise RuntimeError('not imported')")
    assert "my-net" in call("list", "models", "--plugins", "mine").out.split()


def test_show_prints_the_resolved_scenario_and_who_holds_what(call: Call, tiny_file: Path, tmp_path: Path) -> None:
    """1,438 digits less 72 for the server are 1,366 in the table's corner."""
    before = files(tmp_path)
    done = call("show", tiny_file, "--set", "data.partition=dirichlet", "--seed", 5)
    assert (done.code, done.err) == (0, "")
    text = done.out[done.out.index('name = "tiny"') : done.out.index("Examples of 3 clients by class")]
    printed = Scenario.parse(tomllib.loads(text))
    assert (printed.seed, printed.data.partition, printed.data.clients) == (5, "dirichlet", 3)
    assert printed.groups[1].compression_params["mask"] == "client"
    assert printed.server.params["plain"] is False
    assert "1,366" in done.out
    assert files(tmp_path) == before


def test_show_plots(call: Call, tiny_file: Path, tmp_path: Path) -> None:
    done = call("show", tiny_file, "--plot", "plots/who.html")
    assert (done.code, done.err) == (0, "")
    assert "Examples of 3 clients by class" in (tmp_path / "plots" / "who.html").read_text(encoding="utf-8")


def test_show_takes_the_name_of_a_scenario_that_ships(call: Call) -> None:
    done = call("show", "quickstart", "--set", "data.dataset=digits")
    assert done.code == 0
    assert 'name = "quickstart"' in done.out


def test_show_shows_every_run_of_a_sweep(call: Call, tiny: dict[str, Any], tmp_path: Path) -> None:
    variants = [{"name": "flat"}, {"name": "skew", "set": {"data.partition": "dirichlet"}}]
    (tmp_path / "sweep.toml").write_text(tomli_w.dumps({**tiny, "sweep": {"seeds": [1, 2], "variants": variants}}))
    done = call("show", "sweep.toml")
    assert re.findall(r"─ (\w+ seed \d) ─", done.out) == ["flat seed 1", "flat seed 2", "skew seed 1", "skew seed 2"]
    assert re.findall(r'partition = "(\w+)"', done.out) == ["iid", "iid", "dirichlet", "dirichlet"]
    assert re.findall(r"─ (\w+ seed \d) ─", call("show", "sweep.toml", "--seed", 9).out) == [
        "flat seed 9",
        "skew seed 9",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("command", [["list"], ["show", "tiny.toml"], ["doctor"]], ids=lambda command: command[0])
def test_standard_output_that_takes_no_more(tiny_file: Path, command: list[str]) -> None:
    told = {"cwd": tiny_file.parent, "stderr": subprocess.PIPE, "text": True, "check": False}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([PROGRAM, *command], stdout=full, **told)  # type: ignore[call-overload]
    message = "error: what was asked for cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_doctor_in_a_narrow_terminal() -> None:
    """What goes on under the states elsewhere has a word or more on each line here, too."""
    for line in report(width=36).splitlines():
        assert len(line) <= 36 or " " not in line.strip()
    assert max(len(line.split()) for line in report(width=36).splitlines() if line.startswith("    ")) > 1


def test_doctor(call: Call) -> None:
    done = call("doctor")
    assert (done.code, done.err) == (0, "")
    found = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.out.splitlines() if line.startswith("  ")}
    assert found["digits"] == found["mnist-5k"] == found["inline"] == "ready"
    assert found["npz"] == "depends on the FILE: write npz:FILE"
    for package in ("flwr", "tensorflow", "tf-keras", "tensorflow-model-optimization", "numpy"):
        assert re.match(r"\d+\.\d+", found[package])


def test_doctor_says_how_to_get_what_is_missing(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines = call("doctor").out.splitlines()
    (cifar,) = [line for line in lines if line.startswith("  cifar10 ")]
    assert "missing: " in cifar
    assert "--data-dir" in cifar


@pytest.mark.skipif(environment.ONEDNN not in environment.VARIABLES, reason="TensorFlow decides on this architecture")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1", "TensorFlow computes by oneDNN"),
        ("True", "TensorFlow computes by oneDNN"),
        ("0", "TF_ENABLE_ONEDNN_OPTS=0: without oneDNN convolutions take up to ten times as long"),
    ],
)
def test_doctor_says_by_what_convolutions_are_computed(
    call: Call, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv(environment.ONEDNN, value)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)  # what it is computing by already counts otherwise
    lines = call("doctor").out.splitlines()
    assert lines[lines.index("processor") + 1].endswith(f"  {said}")


def test_a_sweep_runs_everything_into_one_directory(call: Call, tiny: dict[str, Any], tmp_path: Path) -> None:
    variants = [{"name": "flat"}, {"name": "skew 0.1", "set": {"data.partition": "dirichlet", "data.alpha": 0.1}}]
    table = {**tiny, "rounds": 1, "sweep": {"seeds": [1, 2], "variants": variants}}
    (tmp_path / "sweep.toml").write_text(tomli_w.dumps(table))
    done = call("run", "sweep.toml", "--out", "out", "--seed", 3, "--json")
    assert done.code == 0
    printed = json.loads(done.out)
    assert [(row["variant"], row["seeds"], row["failed"]) for row in printed["variants"]] == [
        ("flat", 1, 0),
        ("skew 0.1", 1, 0),
    ]
    for row, name in zip(printed["variants"], ["flat-seed-3", "skew-0.1-seed-3"], strict=True):
        summary = RunDirectory(tmp_path / "out" / name).read_json("summary.json")
        assert (summary["seed"], summary["status"]) == (3, "completed")
        assert row["accuracy"] == {"mean": summary["accuracy"], "std": None}
        assert not (tmp_path / "out" / name / "report.html").exists()  # the sweep has one, of all its runs
    assert call("report", "out/flat-seed-3").code == 0
    assert (tmp_path / "out" / "flat-seed-3" / "report.html").exists()
    verdicts = {
        row["variant"]: row["verdict"] for row in printed["comparison"]["figures"] if row["figure"] == "accuracy"
    }
    assert verdicts == {"flat": "baseline", "skew 0.1": "too few seeds"}
    written = {path.name for path in (tmp_path / "out").glob("*.*") if path.is_file()}
    assert written >= {"comparison.csv", "comparison.md", "comparison.html", "comparison.json", "report.html"}
    resolved = Scenario.load(tmp_path / "out" / "skew-0.1-seed-3" / "scenario.toml")
    assert (resolved.seed, resolved.data.alpha, resolved.sweep) == (3, 0.1, None)


def test_bad_input_in_a_process_of_its_own(tiny_file: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    command = [PROGRAM, "run", "tiny.toml", "--set", "groups.dense.model=mini-cn", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=LOUD, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: groups.dense.model: unknown model 'mini-cn'. Did you mean 'mini-cnn'?\n"
    assert files(tmp_path) == before


SUMMARY = """run scenario seed engine status rounds accuracy best_accuracy loss clients uplink_bytes downlink_bytes
    dense_uplink_bytes dense_downlink_bytes bytes_by_content groups seconds model_digest"""
GROUP = "accuracy sparsity_target sparsity parameters dense_bytes compressed_bytes"
PROVENANCE = "versions commit dirty machine engine command seed start end"
ROWS = {
    "rounds": "round accuracy loss best seconds uplink_bytes downlink_bytes clients failures",
    "clients": """round action client group examples train_loss accuracy sparsity_target sparsity dense_bytes
        compressed_bytes seconds status error""",
    "ledger": "round action direction client content wire_bytes dense_bytes bound_bytes",
}


def test_a_run_from_start_to_end(tiny_file: Path, tmp_path: Path) -> None:
    """As a user runs it: JSON alone on standard output, only our own lines on standard error, every file there."""
    command = [PROGRAM, "run", "tiny.toml", "--json", "--out", "out", "--set", "evaluation.tflite=true"]
    done = subprocess.run(command, cwd=tmp_path, env=LOUD, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    summary = json.loads(done.stdout)
    sent = r"so far up [\d.]+ kB, down [\d.]+ kB"
    progress = r"round {}/2: deployed 0\.\d{{4}}, " + sent + r", global 0\.\d{{4}}, [\d.]+ s, left \d+ s"
    expected = [r"tiny: 2 rounds, 3 clients", progress.format(1), progress.format(2), r"results: out"]
    lines = done.stderr.splitlines()
    assert len(lines) == len(expected), done.stderr
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(expected, lines, strict=True)), done.stderr

    directory = RunDirectory(tmp_path / "out")
    found = {path.name for path in directory.path.iterdir()}
    assert {"scenario.toml", "provenance.json", "summary.json", "models", *(f"{n}.jsonl" for n in ROWS)} <= found
    assert [name for name in found if name.startswith(".")] == []
    models = {path.name for path in (directory.path / "models").iterdir()}
    for group in ("dense", "pruned"):
        assert f"{group}.tflite" in models
        assert models & {f"{group}.h5", f"{group}.keras"}

    assert summary == directory.read_json("summary.json")
    assert set(SUMMARY.split()) <= summary.keys()
    assert (summary["run"], summary["scenario"], summary["seed"], summary["engine"]) == ("out", "tiny", 1, "inline")
    assert (summary["status"], summary["rounds"]) == ("completed", 2)
    assert set(summary["clients"]) == {"mean", "std", "worst10"}
    assert summary["groups"].keys() == {"dense", "pruned"}
    assert all(set(GROUP.split()) <= group.keys() for group in summary["groups"].values())
    assert summary["groups"]["pruned"]["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert re.fullmatch(r"[0-9a-f]{64}", summary["model_digest"])

    rows = {name: directory.rows(name) for name in ROWS}
    for name, keys in ROWS.items():
        assert all(set(keys.split()) <= row.keys() for row in rows[name])
    assert [row["round"] for row in rows["rounds"]] == [1, 2]
    assert [(row["round"], row["client"]) for row in rows["clients"]] == [(r, c) for r in (1, 2) for c in range(3)]
    for direction in ("uplink", "downlink"):
        total = sum(row["wire_bytes"] for row in rows["ledger"] if row["direction"] == direction)
        assert total == summary[f"{direction}_bytes"] == sum(row[f"{direction}_bytes"] for row in rows["rounds"])
        assert total == sum(summary["bytes_by_content"][direction].values())

    provenance = directory.read_json("provenance.json")
    assert set(PROVENANCE.split()) <= provenance.keys()
    assert provenance["command"][1:] == command[1:]
    assert provenance["start"] < provenance["end"]
    resolved = Scenario.load(directory.path / "scenario.toml")
    assert resolved.groups[1].compression_params["schedule"] == "polynomial"
    assert Scenario.parse(tomllib.loads(resolved.toml())) == resolved


def test_the_scenario_in_a_run_directory_gives_the_same_bits(call: Call, tiny_file: Path, tmp_path: Path) -> None:
    """What the options of the first run changed is in it, too."""
    changed = ["--seed", 4, "--set", "training.learning_rate=0.02", "--set", "rounds=1"]
    assert call("run", tiny_file, *changed, "--out", "first").code == 0
    assert call("run", "first/scenario.toml", "--out", "again").code == 0
    first, again = (RunDirectory(tmp_path / name).read_json("summary.json") for name in ("first", "again"))
    assert (again["seed"], again["model_digest"]) == (4, first["model_digest"])
    assert "identical" in call("compare", "first", "again").out


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_keeps_the_finished_rounds(tiny_file: Path, tmp_path: Path, sent: int, code: int) -> None:
    command = [PROGRAM, "run", "tiny.toml", "--out", "out", "--set", "rounds=500", "--set", "training.epochs=20"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=LOUD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        heard = ""
        while not heard.endswith("\n") or "round 1/500" not in heard:
            line = process.stderr.readline()
            assert line, heard
            heard += line
        process.send_signal(sent)
        out, rest = process.communicate(timeout=300)
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in rest
    directory = RunDirectory(tmp_path / "out")
    rounds = [row["round"] for row in directory.rows("rounds")]
    assert rounds == list(range(1, len(rounds) + 1))
    assert 1 <= len(rounds) < 500
    assert {row["round"] for row in directory.rows("clients")} >= set(rounds)
    summary = directory.read_json("summary.json")
    assert (summary["status"], summary["rounds"]) == ("interrupted", len(rounds))

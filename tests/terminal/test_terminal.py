"""The real command in a pseudo-terminal: what a person sees, at 80 and 120 columns, with and without colour."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pseudo_terminal import CTRL_C, PROGRAM, Session, run_in_terminal
from rich.cells import cell_len

from fedcompress.results.run.directory import RunDirectory
from fedcompress.units import size

LONG = "phones-whose-group-has-a-name-of-several-long-words"
ROUNDS = 5
NO_COLOR = {"NO_COLOR": "1"}
DUMB = {"TERM": "dumb"}


def scenario(folder: Path, name: str, **more: Any) -> str:
    """Writes a scenario of two groups, without TFLite files, and returns its file's name."""
    groups = [
        {"name": "dense", "share": 0.67, "model": "mini-cnn"},
        {"name": LONG, "share": 0.33, "model": "mini-cnn", "compression": "magnitude", "sparsity": 0.5},
    ]
    settings = {"data": {"dataset": "digits", "clients": 3}, "evaluation": {"tflite": False}}
    table = {"name": name, "rounds": ROUNDS, **settings, "groups": groups, **more}
    (folder / f"{name}.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    return f"{name}.toml"


def good(session: Session, code: int = 0) -> str:
    """Asserts what holds of every command, and returns what can be read in the end."""
    text = "\n".join(session.screen)
    assert "Traceback" not in session.written
    assert session.code == code, text
    assert session.cursor_is_shown
    assert [line for line in session.frames if cell_len(line) > session.columns] == []
    assert "…" not in text
    return text


def counts(session: Session, unit: str, of: int) -> list[int]:
    """Returns how many steps the live line has shown as done, in order."""
    found = [int(n) for n in re.findall(rf"(\d+)/{of}(?: {unit})?,", "\n".join(session.frames))]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("terminal")


@pytest.fixture(scope="module")
def ran(folder: Path) -> Session:
    file = scenario(folder, "tiny", evaluation={"tflite": True})
    return run_in_terminal([PROGRAM, "run", file, "--out", "run"], folder)


@pytest.fixture(scope="module")
def interrupted(folder: Path) -> Session:
    """The same, interrupted after its second round, without colour."""
    command = [PROGRAM, "run", scenario(folder, "broken-off", training={"epochs": 20}), "--out", "broken-off"]
    after_two = lambda text: CTRL_C if f"2/{ROUNDS}" in text else ""  # noqa: E731
    return run_in_terminal(command, folder, environment=NO_COLOR, keys=after_two)


def test_a_run(ran: Session, folder: Path) -> None:
    text = good(ran)
    assert counts(ran, "rounds", ROUNDS) == list(range(ROUNDS + 1))
    live = [line for line in ran.screen if line.startswith("tiny ")]
    summary = RunDirectory(folder / "run").read_json("summary.json")
    bytes_ = f"so far up {size(summary['uplink_bytes'])}, down {size(summary['downlink_bytes'])}"
    assert len(live) == 1
    assert f"{ROUNDS}/{ROUNDS}" in live[0]
    assert bytes_ in live[0]
    lefts = [re.search(r"left (\S+)", line) for line in ran.frames if re.match(rf"tiny .*[1-4]/{ROUNDS}", line)]
    assert [left for left in lefts if left is None or left[1] == "-"] == []
    assert ran.colours
    words = " ".join(text.split())
    for column in ("clients", "deployed", "global", "sparsity", "upload", "of", "dense", "deflated"):
        assert column in words
    assert "dense" in text
    assert LONG in re.sub(r" +[\d.%kMB -]+|\n", "", text)  # folded
    assert text.endswith("results: run")


def test_ctrl_c_ends_a_run_that_can_be_resumed(interrupted: Session, folder: Path) -> None:
    good(interrupted, 130)
    outline, first, *rest = interrupted.screen
    assert outline == "broken-off: 5 rounds, 3 clients, digits"
    assert re.match(r"broken-off .* 2/5(?: rounds)?, .*, interrupted(\^C)?$", first)
    assert [line.removeprefix("^C") for line in rest] == ["go on with: fedcompress resume broken-off", "interrupted"]
    assert interrupted.colours == []
    assert RunDirectory(folder / "broken-off").read_json("summary.json")["status"] == "interrupted"


def test_ctrl_c_before_anything_is_there(folder: Path) -> None:
    command = [PROGRAM, "run", scenario(folder, "early"), "--out", "nothing"]
    session = run_in_terminal(command, folder, keys=lambda text: CTRL_C if "starting" in text else "")
    outline, *rest = good(session, 130).splitlines()
    assert outline == "early: 5 rounds, 3 clients, digits"
    assert "\n".join(rest).removeprefix("^C").strip() == "interrupted"
    assert not (folder / "nothing").exists()


def test_resume_goes_on_with_the_totals(interrupted: Session, folder: Path) -> None:
    """In a wider terminal, with JSON alone on standard output, which is the same terminal."""
    assert interrupted.code == 130
    session = run_in_terminal([PROGRAM, "resume", "broken-off", "--json"], folder, columns=120)
    (printed,) = [line for line in session.frames if line.startswith("{")]
    summary = json.loads(printed)
    assert (session.code, summary["status"], summary["rounds"]) == (0, "completed", ROUNDS)
    assert counts(session, "rounds", ROUNDS) == [2, 3, 4, 5]
    first = next(line for line in session.frames if "2/5" in line)
    assert "left -" in first  # what another process did is no measure
    (last,) = [line for line in session.screen if line.startswith("broken-off ")]
    assert f"up {size(summary['uplink_bytes'])}, down {size(summary['downlink_bytes'])}" in last

    again = run_in_terminal([PROGRAM, "resume", "broken-off"], folder)
    text = good(again)
    assert not [line for line in again.screen if line.startswith("broken-off ")]
    assert text.startswith("broken-off, seed 1: deployed accuracy")


def test_a_sweep_on_a_terminal_that_can_nothing(folder: Path) -> None:
    sweep = {"seeds": [1, 2], "variants": [{"name": "[b] flat"}]}
    command = [PROGRAM, "run", scenario(folder, "sweep", rounds=2, sweep=sweep), "--out", "sweep"]
    session = run_in_terminal(command, folder, environment=DUMB)
    assert session.controls == []
    assert "\r\x1b" not in session.written
    assert "Traceback" not in session.written
    assert session.code == 0
    for number in (1, 2):
        label = f"[{number}/2] [b] flat seed {number}: 2 rounds, 3 clients"
        begun = session.frames.index(label)
        assert [line.split(":")[0] for line in session.frames[begun + 1 : begun + 3]] == ["round 1/2", "round 2/2"]
    assert "[b] flat seed 2: deployed accuracy" in session.written


def test_a_run_from_python_that_stops_early(folder: Path) -> None:
    code = (
        "import fedcompress, sys\n"
        f"run = fedcompress.run({scenario(folder, 'early')!r}, rounds=40, stop__target=0.01, out='early')\n"
        "print(run.summary['rounds'])"
    )
    session = run_in_terminal([sys.executable, "-c", code], folder, columns=120)
    text = good(session)
    rounds = int(text.split("\n")[-1])
    assert rounds < 40
    (line,) = [line for line in session.screen if line.startswith("early ")]
    assert re.search(rf"{rounds}/40 rounds, .*, stopped early$", line)


def test_compress(folder: Path) -> None:
    options = ["--model", "mini-cnn", "--data", "digits", "--epochs", "2", "--examples", "200"]
    command = [PROGRAM, "compress", *options, "--method", "magnitude", "--sparsity", "0.5", "--out", "compressed"]
    session = run_in_terminal(command, folder)
    text = good(session)
    assert counts(session, "experiments", 2) == [0, 1, 2]
    assert sum("2/2" in line for line in session.screen) == 1
    for column in ("bits", "sparsity", "train", "valid.", "test", "deflated", "weights"):
        assert column in text


def test_distill(folder: Path) -> None:
    sizes = ["--teacher-epochs", "2", "--epochs", "2", "--seeds", "1", "--examples", "200"]
    models = ["--teacher", "mini-cnn", "--student", "mini-cnn", "--data", "digits"]
    command = [PROGRAM, "distill", *models, *sizes, "--methods", "plain", "--methods", "kd", "--out", "distilled"]
    session = run_in_terminal(command, folder, environment=NO_COLOR)
    text = good(session)
    assert session.colours == []
    assert counts(session, "models", 3) == list(range(4))
    for column in ("method", "parameters", "test accuracy", "against plain", "seconds"):
        assert column in text


@pytest.mark.parametrize("columns", [80, 120])
def test_compare_and_report(ran: Session, folder: Path, columns: int) -> None:
    assert ran.code == 0
    names = ["first=run", f"{LONG}=run", "third=run", "fourth=run"]
    text = good(run_in_terminal([PROGRAM, "compare", *names, "--target", "0.05"], folder, columns=columns))
    words = " ".join(text.split())
    for column in (
        "accuracy",
        "difference",
        "verdict",
        "(Holm)",
        "seeds",
        "tenth",
        "up",
        "down",
        "model",
        "time",
        "bytes",
    ):
        assert column in words
    if columns == 80:
        assert good(run_in_terminal([PROGRAM, "report", "run"], folder)) == "run/report.html"


DRIVER = """
import os, sys
from fedcompress import cli
for arguments in {commands}:
    print("$", *arguments, flush=True)
    if not (child := os.fork()):
        sys.argv = ["fedcompress", *arguments]
        cli.main()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        sys.exit(f"{{arguments}} ended with {{code}}")
"""
COMMANDS = ("run", "resume", "compare", "report", "list", "show", "distill", "compress", "doctor")


@pytest.mark.parametrize(("columns", "environment"), [(80, {}), (80, DUMB), (120, NO_COLOR)])
def test_what_answers_at_once(folder: Path, columns: int, environment: dict[str, str]) -> None:
    """One import serves them all; each runs in a process of its own."""
    commands = [["list"], ["doctor"], ["show", scenario(folder, "shown")], ["--help"]]
    commands += [[command, "--help"] for command in COMMANDS]
    commands += [["masks", "--help"], ["masks", "propose", "--help"]]
    driver = DRIVER.format(commands=commands)
    session = run_in_terminal([sys.executable, "-c", driver], folder, columns=columns, environment=environment)
    text = " ".join(good(session).replace("│", " ").split())
    assert session.colours == [] or not environment
    if environment == DUMB:
        assert session.controls == []
    for expected in ("mini-cnn", "data sets", "Examples of 3 clients by class", "A scenario: a TOML file, or the name"):
        assert expected in text

"""Standard output and standard error of commands: what is printed where, whatever the shell has done with them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcompress.results.run.directory import RunDirectory

PROGRAM = Path(sys.executable).with_name("fedcompress")
LOUD = """
from clients.sgd import SGD

print("read")

class Loud(SGD):
    def objective(self, start):
        print("training")
        return super().objective(start)
"""


def shell(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", f'"$0" "$@" {command}', *map(str, arguments)], capture_output=True, text=True)


def test_json_is_alone_where_plug_ins_print(call: Callable[..., Any], tiny_file: Path) -> None:
    Path("mine/clients").mkdir(parents=True)
    Path("mine/clients/loud.py").write_text(LOUD)
    arguments = ["--plugins", "mine", "--set", "rounds=1", "--set", "groups.dense.client=loud", "--out", "out"]
    done = call("run", tiny_file, *arguments, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["scenario"] == "tiny"
    assert ("read" in done.err, done.err.count("training\n")) == (True, 2)


def test_json_is_alone_where_programs_are_run() -> None:
    code = (
        "import os, fedcompress.cli.streams as streams\n"
        "with streams.reserved():\n"
        "    streams.result('{}'); print('said'); os.system('echo run')\n"
        "print('after')"
    )
    done = shell("", sys.executable, "-c", code)
    assert (done.stdout, {*done.stderr.split()}) == ("{}\nafter\n", {"run", "said"})


def test_json_is_printed_before_an_error() -> None:
    """Of a sweep with runs that failed."""
    code = "import fedcompress.cli.streams as s\nwith s.reserved():\n    s.result('{}'); raise SystemExit(1)"
    done = shell("", sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (1, "{}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("how", ["2>/dev/full", ">&- 2>&- <&-"])
def test_a_run_depends_on_no_stream_of_messages(how: str, tiny_file: Path, tmp_path: Path) -> None:
    done = shell(how, PROGRAM, "run", tiny_file, "--set", "rounds=1", "--out", tmp_path / "out")
    assert done.returncode == 0
    assert ("tiny" in done.stdout) == (">&- 2" not in how)
    assert len(RunDirectory(tmp_path / "out").rows("rounds")) == 1


def test_nothing_takes_the_place_of_a_closed_stream() -> None:
    """A file that were opened as number 2 would get what libraries write to standard error."""
    code = "import fedcompress.cli.streams as s; s.complete(); f = open('/dev/null'); print(f.fileno() > 2)"
    assert shell("2>&- <&-", sys.executable, "-c", code).stdout == "True\n"

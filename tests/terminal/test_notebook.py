"""A run in a notebook: one output that changes, and nothing that only a terminal understands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

WATCHED = """
from IPython.display import DisplayHandle
shown, update = [], DisplayHandle.update
def watched(self, data, **more):
    shown.append(data["text/plain"])
    return update(self, data, **more)
DisplayHandle.update = watched
"""


def test_a_run_is_one_output_that_changes(tiny_file: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    cells = [
        WATCHED,
        f"import fedcompress\nrun = fedcompress.run({tiny_file.name!r}, rounds=4, out='run')",
        f"runs = fedcompress.run_all({tiny_file.name!r}, rounds=1, sweep__seeds=[1, 2], out='sweep')",
        "import json\nprint(json.dumps(shown))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    folder = {"metadata": {"path": str(tiny_file.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=folder).execute()
    outputs: list[list[Any]] = [cell.outputs for cell in notebook.cells]

    (output,) = outputs[1]
    done = r"tiny: 4/4 rounds, deployed 0\.\d{4}, so far up [\d.]+ kB, down [\d.]+ kB, global 0\.\d{4}, \d+ s"
    assert (output.output_type, set(output.data)) == ("display_data", {"text/plain"})
    assert re.fullmatch(done, output.data["text/plain"])

    texts = [o.data["text/plain"] if "data" in o else o.text for o in outputs[2]]
    assert "\x1b" not in "".join(texts)
    assert [bool(re.match(r"\[\d/2\] .* seed \d: 1/1 round, deployed", text)) for text in texts].count(True) == 2
    assert "2 of 2 runs done, left 0 s" in "".join(texts)

    shown = json.loads(outputs[3][0].text)
    counts = [text.split(": ")[1].split(" ")[0] for text in shown if text.startswith("tiny")]
    assert list(dict.fromkeys(counts)) == ["0/4", "1/4", "2/4", "3/4", "4/4"]  # after "importing TensorFlow"
    first = r"1/4 rounds, deployed 0\.\d{4}, so far up [\d.]+ kB, down [\d.]+ kB, global 0\.\d{4}, \d+ s, left \d+ s$"
    assert re.search(first, shown[1])

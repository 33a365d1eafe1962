"""Words that tables use are explained where they appear: in a page by a tip, in a terminal on request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from fedcompress.glossary import MEANINGS, explained
from fedcompress.results.report.page import make_page
from fedcompress.results.runs import find_runs


def test_each_is_one_line() -> None:
    assert [word for word, meaning in MEANINGS.items() if "\n" in meaning or not 20 < len(meaning) < 160] == []
    assert explained(["variant", "own data", "worst tenth", "own data"]) == [
        f"own data: {MEANINGS['own data']}",
        f"worst tenth: {MEANINGS['worst tenth']}",
    ]


@pytest.mark.parametrize("word", ["deployed", "own data", "worst tenth", "up", "down", "model", "verdict"])
def test_compare_explains_its_words(call: Callable[..., Any], make_sweep: Callable[..., Path], word: str) -> None:
    sweep = make_sweep("sweep", {"one": (0.8, 0.9), "two": (0.7, 0.71)}, (1, 2))
    said = " ".join(call("compare", sweep, "--explain").out.split())
    assert f"{word}: {MEANINGS[word]}" in said
    assert MEANINGS[word] not in " ".join(call("compare", sweep).out.split())


def test_a_report_explains_them_as_tips(make_run: Callable[..., Path]) -> None:
    page, _ = make_page(find_runs([make_run("run")]))
    for word in ("deployed accuracy", "worst tenth of clients", "own data", "worst tenth", "entropy bound", "up"):
        assert f'<abbr title="{escape(MEANINGS[word])}">{word}</abbr>' in page

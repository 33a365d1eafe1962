"""Tables of any content at any width: nothing disappears, figures stay whole, no line is wider than the terminal."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from fedcompress.fitted_table import FittedTable

WIDTHS = (40, 60, 80, 100, 120)


def shown(table: FittedTable, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False, markup=False, emoji=False).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def table(name: str, figures: int = 7) -> FittedTable:
    columns = ["group", *(f"figure {i}" for i in range(figures))]
    return FittedTable("title", columns, [[name, *(f"{i}23.4 kB" for i in range(figures))]], "caption")


def test_a_table_that_fits_is_one_block() -> None:
    """12 columns of the name, 7 of each of two figures, a gap of 2 before each."""
    found = shown(FittedTable("Sizes", ["group", "up", "down"], [["server-class", "12.3 kB", "456 B"]]), 80)
    assert found == [
        "Sizes",
        "",
        "group              up   down",
        "────────────────────────────",
        "server-class  12.3 kB  456 B",
    ]


@pytest.mark.parametrize("name", ["a" * 70, "phones with a long name, " * 4, "手机" * 20, "x"])
@pytest.mark.parametrize("width", WIDTHS)
def test_long_names_fold_and_figures_stay_whole(name: str, width: int) -> None:
    lines = shown(table(name), width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    assert [i for i in range(7) if f"{i}23.4 kB" not in text] == []
    assert len(re.findall("figure", text)) == 7
    folded = "".join(re.split(r" {2,}", line)[0] for line in lines[4 : lines.index("caption") - 1])
    assert folded.replace(" ", "").startswith(name.replace(" ", ""))


def test_columns_without_room_go_into_a_block_below_with_the_names_again() -> None:
    lines = shown(table("phone", 10), 60)
    heads = [line for line in lines if line.startswith("group")]
    assert len(heads) == 2
    assert [line.split()[0] for line in lines if line.endswith("kB")] == ["phone", "phone"]


def test_words_break_between_words_before_figures_need_a_block() -> None:
    rows = [["skew with a long name", "within noise", "0.8123 to 0.8345"]]
    made = FittedTable("", ["variant", "verdict", "interval"], rows, words=["verdict"])
    lines = shown(made, 40)
    assert not [line for line in lines if "within noise" in line]
    assert [line for line in lines if "0.8123 to 0.8345" in line]


def test_brackets_and_colons_are_text() -> None:
    assert "a [b] :smile: [/c]" in shown(FittedTable("", ["group", "n"], [["a [b] :smile: [/c]", "1"]]), 80)[-1]


@settings(max_examples=60)
@given(
    name=st.text("ab -_é手[:", min_size=1, max_size=90).filter(str.strip),
    figures=st.lists(st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,4})?( kB)?", fullmatch=True), min_size=1, max_size=12),
    width=st.integers(24, 130),
)
def test_nothing_is_lost_at_any_width(name: str, figures: list[str], width: int) -> None:
    columns = ["name", *(f"c{i}" for i in range(len(figures)))]
    lines = shown(FittedTable("", columns, [[name, *figures]]), width)
    assert max(map(cell_len, lines)) <= width
    words = "\n".join(lines).split()
    assert [part for figure in figures for part in figure.split() if part not in words] == []
    assert [column for column in columns[1:] if words.count(column) != 1] == []

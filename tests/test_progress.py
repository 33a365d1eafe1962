"""Progress: what a line holds at which width, and how long the rest will take."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.console import Console

from fedcompress.progress import Pace, ProgressLine, console
from fedcompress.terminal import compared_with_dense

STATUS = ("accuracy 0.8921", "up 123.4 MB", "down 234.5 MB")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_step_compiles_and_is_no_measure_of_the_others() -> None:
    """60 s for the first step, 4 s for each other: of 10, 3 are done, 7 are left, 28 s."""
    clock = Clock()
    pace = Pace(0, clock)
    assert pace.left(10) is None
    lefts = []
    for done, clock.now in ((1, 60.0), (2, 64.0), (3, 68.0)):
        pace.reached(done)
        lefts.append(pace.left(10))
    assert lefts == [540.0, 32.0, 28.0]
    clock.now += 3.0
    assert pace.left(10) == 25.0
    clock.now += 9.0  # the step takes longer than the others did
    assert pace.left(10) == 24.0


@pytest.mark.parametrize("before", [1, 57, 400])
def test_steps_that_another_process_did_are_no_measure(before: int) -> None:
    """Two steps here, 10 s each: 5 more take 50 s, however many were done before."""
    clock = Clock()
    pace = Pace(before, clock)
    assert pace.left(before + 7) is None
    for step in (1, 2):
        clock.now += 10.0
        pace.reached(before + step)
    assert pace.left(before + 7) == 50.0
    assert pace.left(before + 2) == 0.0


def test_runs_side_by_side_that_end_together_are_counted_from_the_start() -> None:
    """Two of six after 100 s and 101 s: four more take 202 s, not four."""
    clock = Clock()
    pace = Pace(0, clock, compiles=False)
    for done, clock.now in ((1, 100.0), (2, 101.0)):
        pace.reached(done)
    assert pace.left(6) == 202.0


def test_steps_told_twice_or_several_at_once() -> None:
    clock = Clock()
    pace = Pace(0, clock)
    for done, clock.now in ((1, 5.0), (1, 6.0), (4, 11.0)):
        pace.reached(done)
    assert pace.left(6) == 4.0  # 3 steps in 6 s


def line(
    label: str,
    width: int,
    *,
    done: int | None = 3,
    total: int = 300,
    status: Sequence[str] = STATUS,
    ended: bool = False,
) -> str:
    """Returns what a person sees of a line."""
    clock = Clock()
    made = ProgressLine(label, "rounds", clock)
    if done is not None:
        made.begin(total)
        clock.now = 10.0
        made.update(done, status)
    if ended:
        made.__exit__(None, None, None)
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(made)
    return file.getvalue().removesuffix("\n")


LABELS = ["tiny", "[12/24] depth-width magnitude sparsity 0.95 seed 12", "手机" * 30, "x" * 200]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("done", [None, 0, 3, 300])
def test_it_is_one_line_with_room_for_a_typed_control_character(label: str, width: int, done: int | None) -> None:
    shown = line(label, width, done=done)
    assert "\n" not in shown
    assert cell_len(shown.rstrip()) <= width - 3


@pytest.mark.parametrize(
    ("label", "width", "expected"),
    [
        ("quickstart", 120, "quickstart 150/300 rounds, accuracy 0.8921, up 123.4 MB, down 234.5 MB, 10 s, left 10 s"),
        ("quickstart", 80, "quickstart 150/300 rounds, accuracy 0.8921, up 123.4 MB, left 10 s"),
        (LABELS[1], 80, "[12/24] dept…0.95 seed 12 150/300 rounds, accuracy 0.8921, left 10 s"),
        (LABELS[1], 120, f"{LABELS[1]} 150/300 rounds, accuracy 0.8921, up 123.4 MB, left 10 s"),
    ],
)
def test_what_matters_least_goes_first(label: str, width: int, expected: str) -> None:
    shown = line(label, width, done=150)
    assert " ".join(shown.replace("━", " ").replace("╸", " ").split()) == expected
    assert 3 <= shown.count("━") + shown.count("╸") <= width / 12


def test_a_line_whose_end_is_not_known_yet() -> None:
    assert line("tiny", 80, done=None).rstrip() == "tiny starting, 0 s"


def test_what_is_waited_for_is_shown() -> None:
    made = ProgressLine("tiny", "rounds", Clock())
    made.wait_for("importing TensorFlow")
    screen = Console(file=io.StringIO(), width=80)
    with screen.capture() as captured:
        screen.print(made)
    assert captured.get().rstrip() == "tiny importing TensorFlow, 0 s"


@pytest.mark.parametrize(("done", "end"), [(3, "10 s, stopped early"), (300, "10 s")])
def test_how_it_ends(done: int, end: str) -> None:
    assert line("tiny", 120, done=done, ended=True).rstrip().endswith(f", {end}")


def test_the_cursor_comes_back_if_it_is_interrupted_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("TERM", "xterm"), ("TTY_COMPATIBLE", "1"), ("TTY_INTERACTIVE", "1")):
        monkeypatch.setenv(name, value)
    draw, calls = ProgressLine._line, [0]

    def interrupted(self: ProgressLine, width: int) -> object:
        calls[0] += 1
        if calls[0] == 1:
            raise KeyboardInterrupt
        return draw(self, width)

    monkeypatch.setattr(ProgressLine, "_line", interrupted)
    with pytest.raises(KeyboardInterrupt), ProgressLine("tiny", "rounds"):
        pass
    written = capsys.readouterr().err
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_a_pipe_is_as_wide_as_columns_says(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for columns in (None, "61", "0", "-3", "wide"):
        monkeypatch.delenv("COLUMNS", raising=False)
        if columns is not None:
            monkeypatch.setenv("COLUMNS", columns)
        found.append(console().width)
    assert found == [100, 61, 100, 100, 100]


def test_what_was_sent_is_compared_with_dense() -> None:
    """Half of the dense bytes, as many, and twice as many: "0.5 times less" would say the opposite of what it means."""
    texts = [compared_with_dense(saved) for saved in (2.0, 1.0, 0.5, float("nan"))]
    assert texts == [
        "2.0 times less than dense",
        "1.0 times less than dense",
        "2.0 times as much as dense",
        "nan times less than dense",
    ]

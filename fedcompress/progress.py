"""Progress of what takes long, on standard error: a live line on a terminal or in a notebook, elsewhere text."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedcompress.units import duration, shortened

_MARGIN = 3
"""Columns that a live line leaves free: the terminal echoes ^C behind it, and a line that wraps cannot be redrawn."""
_LEAST_BAR, _MOST_BAR = 6, 1 / 6
"""Of the bar: columns at least, and part of the line at most."""
_LEAST_LABEL = 12

PIPED = 100
"""Columns of what is written into a file or pipe."""

Clock = Callable[[], float]


def console(*, stderr: bool = False) -> Console:
    """Returns a console that prints text as it is: names and messages may hold brackets and colons.

    It is as wide as the terminal; elsewhere as the variable COLUMNS says, or `PIPED` columns.
    """
    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "force_jupyter": False}
    # A notebook's kernel says that it is a terminal.
    screen = Console(stderr=stderr, force_terminal=False if _in_notebook() else None, **plain)
    if not screen.is_terminal or screen.width < 1:
        screen.width = shutil.get_terminal_size((PIPED, 24)).columns
    return screen


def _in_notebook() -> bool:
    return Console().is_jupyter


class Pace:
    """How long the rest will take, from the steps that this process has done.

    Args:
        done: Steps that were done before.
        clock: Tells the seconds.
        compiles: Whether the first step does, and so counts only as long as it is the only one.
    """

    def __init__(self, done: int, clock: Clock = time.perf_counter, *, compiles: bool = True) -> None:
        self._clock, self._compiles = clock, compiles
        self._marks = [(clock(), done)]

    def reached(self, done: int) -> None:
        """Takes in that so many steps are done."""
        if done > self._marks[-1][1]:
            self._marks.append((self._clock(), done))

    def left(self, total: int) -> float | None:
        """Returns the seconds until `total` steps are done; None before the first one is."""
        if len(self._marks) == 1:
            return None
        (begun, before), (last, done) = self._marks[self._compiles and len(self._marks) > 2], self._marks[-1]
        each = (last - begun) / (done - before)
        in_progress = min(self._clock() - last, each)
        return each * (total - done) - in_progress if done < total else 0.0


class ProgressLine:
    """What runs, how far it is, how it goes, and how long the rest will take: the one display that all others extend.

    Where the line is not live, as in a pipe, it shows nothing: what a reader needs is said line by line (`note`).

    Args:
        label: What runs.
        unit: What is counted, in the plural.
        clock: Tells the seconds.
        compiles: Whether the first step takes longer than the others will.
    """

    def __init__(self, label: str, unit: str, clock: Clock = time.perf_counter, *, compiles: bool = True) -> None:
        self._console = console(stderr=True)
        self._label, self._unit, self._clock, self._compiles = label, unit, clock, compiles
        self._done, self._total = 0, 0
        self._status: Sequence[str] = ("starting",)
        self._ending: str | None = None
        self._begun = clock()
        self._pace: Pace | None = None
        self._display: Live | _NotebookOutput | None = None
        if self._console.is_interactive:
            to_terminal = sys.stdout.isatty()  # what is printed into a file or pipe meanwhile belongs there
            self._display = Live(self, console=self._console, redirect_stdout=to_terminal)
        elif _in_notebook():
            self._display = _NotebookOutput()

    @property
    def has_begun(self) -> bool:
        """Whether it is known how many steps there are."""
        return self._pace is not None

    def __enter__(self) -> Self:
        if isinstance(self._display, Live):
            try:
                self._display.start(refresh=True)
            except BaseException:  # Ctrl-C, when the cursor is hidden already
                self._display.transient = True
                self._display.stop()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._ending = "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
        else:
            self._ending = "" if self._done >= self._total else "stopped early"
        if isinstance(self._display, Live):
            self._display.transient = self._pace is None  # nothing was begun that is worth a line
            self._display.stop()
        self._draw()

    def begin(self, total: int, done: int = 0, status: Sequence[str] = ()) -> None:
        """Shows how many steps there are; those done so far are no measure of the others."""
        self._total, self._done, self._status = total, done, status
        self._pace = Pace(done, self._clock, compiles=self._compiles)
        self._draw(now=True)

    def update(self, done: int, status: Sequence[str] = (), label: str | None = None) -> None:
        """Shows how many steps are done, and how it goes: what matters most first; the rest goes if room lacks."""
        assert self._pace is not None
        self._done = done
        self._pace.reached(done)
        self._label = self._label if label is None else label
        self._status = status
        self._draw(now=True)

    def show(self, status: Sequence[str]) -> None:
        """Shows how the step goes that is being done."""
        self._status = status
        self._draw()

    def wait_for(self, what: str) -> None:
        """Shows what is waited for before it is known how many steps there are."""
        self._status = (what,)
        self._draw(now=True)

    def say(self, text: str) -> None:
        """Prints a line above the live one."""
        self._console.print(text, soft_wrap=not isinstance(self._display, Live))

    def note(self, text: str) -> None:
        """Prints a line where no live one is seen, which would say the same."""
        if self._display is None:
            self.say(text)

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return self._clock() - self._begun

    @property
    def left(self) -> str:
        """How long the rest will take, as a person reads it."""
        seconds = self._pace.left(self._total) if self._pace is not None else None
        return "-" if seconds is None else duration(seconds)

    def _draw(self, *, now: bool = False) -> None:
        """Shows what is new, at the latest with the next of the four frames a second that a terminal gets."""
        if isinstance(self._display, Live) and now:
            self._display.refresh()
        if isinstance(self._display, _NotebookOutput):
            counted = [f"{self._done}/{self._total} {self._unit_of_total}"] if self._pace is not None else []
            self._display.show(f"{self._label}: {', '.join([*counted, *self._status, *self._times])}")

    @property
    def _unit_of_total(self) -> str:
        return self._unit.removesuffix("s") if self._total == 1 else self._unit

    @property
    def _times(self) -> list[str]:
        """Seconds so far, and what is ahead: how long the rest will take, or how it has ended."""
        ahead = self._ending
        if ahead is None and self._pace is not None:
            ahead = "finishing" if self._done >= self._total else f"left {self.left}"
        return [duration(self.elapsed), *filter(None, [ahead])]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the line, never wider than the terminal."""
        yield self._line(options.max_width - _MARGIN)

    def _line(self, width: int) -> Table:
        """Returns the line in so many columns: what matters least is left out, then the bar and the label shrink."""
        elapsed, *ahead = self._times
        counted, unit = (
            (f"{self._done}/{self._total}", f" {self._unit_of_total}") if self._pace is not None else ("", "")
        )
        status = list(self._status[:1])
        needed = cell_len(", ".join(filter(None, [counted, *status, *ahead])))
        label = self._label
        if cell_len(label) + 1 + _LEAST_BAR + 1 + needed > width:
            label = shortened(label, max(width // 3, _LEAST_LABEL))
        room = width - cell_len(label) - 1 - needed

        def fits(columns: int) -> bool:
            nonlocal room
            room -= columns if (enough := columns <= room) else 0
            return enough

        has_bar = bool(counted) and fits(_LEAST_BAR + 1)
        status += [part for part in self._status[1:] if fits(cell_len(part) + 2)]
        counted += unit if fits(cell_len(unit)) else ""
        times = [elapsed, *ahead] if fits(cell_len(elapsed) + 2) else ahead
        text = Text(", ".join(filter(None, [counted, *status, *times])))
        text.truncate(max(width - cell_len(label) - 1, 1), overflow="ellipsis")
        bar = ProgressBar(self._total, self._done, min(int(_MOST_BAR * width), _LEAST_BAR + room)) if has_bar else None
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(Text(label, "bold", no_wrap=True), *([bar] if bar else []), text)
        return line


class _NotebookOutput:
    """An output of a notebook's cell that is replaced as often as it changes."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Shows a line instead of the last one."""
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

        if self._handle is None:
            self._handle = display({"text/plain": text}, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update({"text/plain": text}, raw=True)

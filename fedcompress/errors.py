"""Errors that reach a user, and the exit code that each stands for."""

from __future__ import annotations

import errno
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

MOST_PROBLEMS, MOST_CHARACTERS = 20, 4000
"""What is shown of many problems, and of a long one."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when a disk is full, or a user has had their share of it."""
LONGEST = 2000
"""Characters that are kept of the text of an error that is not ours."""
LONGEST_TRACEBACK = 20_000


class FedcompressError(Exception):
    """Base of all errors that are shown as one clear message, without a traceback."""

    exit_code = 1


class InputError(FedcompressError):
    """The input was wrong: a scenario, a data set, a plug-in, an argument.

    Args:
        problems: One message, or several; each says what was received, what was expected and how to fix it.
        further: Number of problems beyond these.
    """

    exit_code = 2

    def __init__(self, problems: str | Iterable[str], further: int = 0) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.further = further
        lines = [cut(problem, MOST_CHARACTERS) for problem in self.problems[:MOST_PROBLEMS]]
        if more := len(self.problems) - len(lines) + further:
            lines.append(f"and {more:,} more problem{'s' if more > 1 else ''}")
        super().__init__("\n".join(lines))


def cut(text: str, most: int) -> str:
    """Returns a text without what goes beyond so many characters."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def shown(value: Any) -> str:
    """Returns a received value as a message shows it."""
    try:
        return cut(repr(value), 200)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes; a table inside itself
        return f"a {type(value).__name__} that is too large to show"


@contextmanager
def located(where: str) -> Iterator[None]:
    """Puts a place before every problem of an `InputError` that passes."""
    try:
        yield
    except InputError as error:
        raise InputError([f"{where}: {problem}" for problem in error.problems], error.further) from None


@contextmanager
def prepared(what: str) -> Iterator[None]:
    """Makes whatever a plug-in raises before anything runs an `InputError`, `sys.exit` included; Ctrl-C passes.

    Args:
        what: As in messages: "method 'magnitude'".
    """
    try:
        yield
    except (FedcompressError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise InputError(f"{what}: cannot be prepared: {described(error)}.{_raised_at(error)}") from error


def _raised_at(error: BaseException) -> str:
    """Returns `" Raised at mine.py:5."`, the deepest place that is neither ours nor of what is installed, if any is."""
    installed = sysconfig.get_paths()
    others = (str(Path(__file__).parent), *(installed[name] for name in ("stdlib", "purelib", "platlib")), "<")
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(others)]
    return f" Raised at {Path(places[-1].filename).name}:{places[-1].lineno}." if places else ""


class RunError(FedcompressError):
    """The run failed although its input was right; what was finished is on disk."""


class TooFewRepliesError(RunError):
    """Fewer good replies to a call than `[server] minimum_replies`; who can do without them goes on."""


class PayloadError(FedcompressError):
    """A payload does not decode to what was declared; nothing of it is used."""


def described(error: BaseException) -> str:
    """Returns any error as `Type: text`, fit for a row and for a terminal: see `one_line`."""
    text = _text(error)
    return one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def reason(error: BaseException) -> str:
    """Returns why something failed: an error of ours says all itself, any other is `described`."""
    return str(error) if isinstance(error, FedcompressError) else described(error)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # what raises here is a plug-in's exception class
        return f"its text cannot be read, that raises {type(second).__name__}"


def one_line(text: str, longest: int = LONGEST) -> str:
    """Returns a text of unknown origin as one line of printable characters, the others as escapes, cut to a length.

    >>> one_line("a\\n  b\\x1b[1m", longest=6)
    'a b\\\\x1b ... (3 more characters)'
    """
    beginning = _printable(" ".join(text[:longest].split()))
    return f"{beginning} ... ({len(text) - longest:,} more characters)" if len(text) > longest else beginning


def traced(error: BaseException) -> str:
    """Returns the traceback of an error as printable lines, of a long one the end."""
    text = "".join(traceback.format_exception(error))
    return printable_lines(text[-LONGEST_TRACEBACK:])


def printable_lines(text: str) -> str:
    """Returns lines of text with everything escaped that a terminal would act upon, or a file could not hold."""
    return "\n".join(map(_printable, text.splitlines()))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def first_line(error: BaseException, longest: int = 300) -> str:
    """Returns the first line of what an error says, as `one_line`; its kind, if it says nothing."""
    lines = _text(error).strip().splitlines()
    return one_line(lines[0] if lines else type(error).__name__, longest)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns `" Did you mean 'x'?"` for a near miss, and the known names otherwise."""
    return _suggestion(name, tuple(sorted(known)))


@lru_cache(maxsize=1024)
def _suggestion(name: str, names: tuple[str, ...]) -> str:
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""

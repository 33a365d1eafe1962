"""Errors that reach a user, and the exit code that each stands for."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from difflib import get_close_matches

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
    """

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class RunError(FedcompressError):
    """The run failed although its input was right; what was finished is on disk."""


class PayloadError(FedcompressError):
    """A payload does not decode to what was declared; nothing of it is used."""


def described(error: BaseException) -> str:
    """Returns any error as `Type: text`, fit for a row and for a terminal: see `one_line`."""
    try:
        text = str(error)
    except BaseException as second:  # what raises here is a plug-in's exception class
        text = f"its text cannot be read, that raises {type(second).__name__}"
    return one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def one_line(text: str, longest: int = LONGEST) -> str:
    """Returns a text of unknown origin as one line of printable characters, the others as escapes, cut to a length.

    >>> one_line("a\\n  b\\x1b[1m", longest=6)
    'a b\\\\x1b ... (3 more characters)'
    """
    kept = _printable(" ".join(text[:longest].split()))
    return f"{kept} ... ({len(text) - longest:,} more characters)" if len(text) > longest else kept


def traced(error: BaseException) -> str:
    """Returns the traceback of an error as printable lines, of a long one the end."""
    text = "".join(traceback.format_exception(error))
    return printable_lines(text[-LONGEST_TRACEBACK:])


def printable_lines(text: str) -> str:
    """Returns lines of text with everything escaped that a terminal would act upon, or a file could not hold."""
    return "\n".join(map(_printable, text.splitlines()))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns `" Did you mean 'x'?"` for a near miss, and the known names otherwise."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""

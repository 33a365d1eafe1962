"""Errors that reach a user, and the exit code that each stands for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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


def one_line(error: BaseException, most: int = 300) -> str:
    """Returns the first line of what an error says, cut to a length; its kind, if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:most] if lines else type(error).__name__


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns `" Did you mean 'x'?"` for a near miss, and the known names otherwise."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""

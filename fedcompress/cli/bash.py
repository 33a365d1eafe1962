"""Completion in bash, which takes a word apart at `=` and `:`, and replaces the last part alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

from click.shell_completion import CompletionItem, add_completion_class
from typer._completion_classes import BashComplete

_BREAKS = re.compile(r"[=:]+")


class WholeWords(BashComplete):
    """Puts the parts of a word together again before it is completed, and gives bash back its own part."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        *whole, last = joined([*args, incomplete])
        self._before = last.removesuffix(incomplete) if not _BREAKS.fullmatch(incomplete) else last
        return whole, last

    def format_completion(self, item: CompletionItem) -> str:
        return str(item.value).removeprefix(self._before)


def joined(words: Sequence[str]) -> list[str]:
    """Returns words without the breaks of bash in them.

    >>> joined(["--set", "data.dataset", "=", "npz", ":", "x"])
    ['--set', 'data.dataset=npz:x']
    """
    whole: list[str] = []
    goes_on = False
    for word in words:
        is_break = bool(_BREAKS.fullmatch(word))
        if whole and (goes_on or is_break):
            whole[-1] += word
        else:
            whole.append(word)
        goes_on = is_break
    return whole


def register() -> None:
    """Has `complete_bash` answered by `WholeWords`; Typer has registered its own by then."""
    add_completion_class(WholeWords, "bash")

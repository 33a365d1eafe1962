"""What a server strategy does wrong is one clear error, whatever it raises or returns."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fedcompress.errors import InputError, RunError, described, one_line, traced
from fedcompress.strategy import State
from fedcompress.tree import check_tree

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""What a disk says where clients' states cannot be written; any other error of files is the strategy's own."""


@dataclass(frozen=True)
class Guard:
    """Stands around every call of a server strategy.

    Attributes:
        strategy: Its name, for messages.
        debug: Whether messages show where an exception came from.
    """

    strategy: str
    debug: bool = False

    @contextmanager
    def calling(self, where: str) -> Iterator[None]:
        """Makes an exception inside the block a RunError, `sys.exit` included: with its code 0 a run would seem done.

        Errors that say all themselves, a disk that is full or fails, and Ctrl-C pass.

        Args:
            where: As in messages: "round 3".
        """
        try:
            yield
        except (InputError, RunError, KeyboardInterrupt):
            raise
        except BaseException as error:
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                raise
            shown = f":\n{traced(error)}" if self.debug else " (--debug shows where)"
            raise RunError(f"{where}: server strategy {self.strategy!r} failed: {described(error)}{shown}") from error

    def checked(self, state: Any, where: str) -> State:
        """Returns a state that a checkpoint can hold.

        Raises:
            RunError: It is something else; says what, and what a state may be.
        """
        problem = ""
        if not isinstance(state, dict):
            problem = f"state: received {type(state).__name__}, expected a dict"
        try:
            check_tree(state)
        except TypeError as error:
            problem = problem or one_line(str(error))
        if problem:
            raise RunError(f"{where}: server strategy {self.strategy!r} returned what cannot be kept: {problem}.")
        return dict(state)

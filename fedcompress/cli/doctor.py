"""`fedcompress doctor`."""

from __future__ import annotations

from fedcompress.cli.arguments import DoctorArguments
from fedcompress.doctor import report
from fedcompress.progress import console


def command(args: DoctorArguments) -> None:
    """Says what is there, as wide as the terminal."""
    screen = console()
    print(report(args.data_dir, screen.width if screen.is_terminal else None))

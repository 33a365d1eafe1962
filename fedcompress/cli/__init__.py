"""The command line: what each command takes is in `arguments`, what it does in the file of its name."""

from fedcompress.cli.app import main

__all__ = ["main"]

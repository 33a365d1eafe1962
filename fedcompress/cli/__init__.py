"""The command line: what each command takes is in `arguments`, what it does in the file of its name."""

from fedcompress.cli.app import command_line, main

__all__ = ["command_line", "main"]

"""The commands and the entry point. What a command does is imported when it is called: --help answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import MISSING, Field, fields
from functools import wraps
from importlib import import_module
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import click
import typer

from fedcompress import __version__, environment
from fedcompress.cli import arguments, discovery, streams
from fedcompress.cli.ending import INTERRUPTED, ended_by_signals
from fedcompress.errors import (
    MOST_CHARACTERS,
    NO_ROOM,
    FedcompressError,
    InputError,
    RunError,
    cut,
    printable_lines,
)

_ASSIGNS = ("--set=", "--param=")
COMPLETES = "_FEDCOMPRESS_COMPLETE"
"""Variable by which a shell asks for completions."""
COMMANDS: Mapping[str, type] = {
    "run": arguments.RunArguments,
    "resume": arguments.ResumeArguments,
    "compare": arguments.CompareArguments,
    "report": arguments.ReportArguments,
    "provenance": arguments.ProvenanceArguments,
    "list": discovery.ListArguments,
    "describe": discovery.DescribeArguments,
    "keys": discovery.KeysArguments,
    "show": discovery.ShowArguments,
    "new": discovery.NewArguments,
    "distill": arguments.DistillArguments,
    "compress": arguments.CompressArguments,
    "generate": arguments.GenerateArguments,
    "attack": arguments.AttackArguments,
    "reproduce": arguments.ReproduceArguments,
    "doctor": discovery.DoctorArguments,
}
"""Name -> what it takes. `fedcompress.cli.NAME.command` is what it does."""
GROUPS: Mapping[str, tuple[str, Mapping[str, type]]] = {
    "masks": (
        "Collect channel masks, train a proposer of them, and have it propose some.",
        {
            "collect": arguments.MasksCollectArguments,
            "train": arguments.MasksTrainArguments,
            "propose": arguments.MasksProposeArguments,
            "show": arguments.MasksShowArguments,
        },
    ),
}
"""Name -> help and commands. `fedcompress.cli.GROUP.COMMAND` is what one does."""


def _hint(error: click.ClickException, words: Sequence[str]) -> str:
    """Returns what was meant, where a key and its value were given apart."""
    if isinstance(error, click.UsageError) and "unexpected extra argument" in error.format_message():
        apart = [part for word in words for part in (word.split("=", 1) if word.startswith(_ASSIGNS) else [word])]
        for option, key, value in zip(apart, apart[1:], apart[2:], strict=False):
            if option in ("--set", "--param") and "=" not in key and not value.startswith("-"):
                return f". Did you mean {option} {key}={value}?"
    return ""


@ended_by_signals()
def main() -> None:
    """Runs the command line; every expected failure is one clear message and an exit code."""
    streams.complete()
    environment.apply()
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # plug-ins as package.module:Class from where the user stands
    try:
        code = command_line()(standalone_mode=False)
        if code == INTERRUPTED:
            print("interrupted", file=sys.stderr)
        sys.exit(code)
    except FedcompressError as error:
        for line in printable_lines(str(error)).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        print(f"error: {error.format_message()}{_hint(error, sys.argv)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            print(f"error: what was asked for cannot be written: {error.strerror}", file=sys.stderr)
            sys.exit(RunError.exit_code)
        if error.filename is None:
            raise
        print(f"error: {cut(str(error.filename), MOST_CHARACTERS)}: {error.strerror}", file=sys.stderr)
        sys.exit(InputError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def command_line() -> Any:
    """Returns the command line as a command of Click."""
    app = typer.Typer(
        help="Federated learning with compressed models, simulated on Flower and measured byte by byte.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        suggest_commands=False,  # click's own message already suggests
    )
    app.callback(invoke_without_command=True)(_root)
    for name, kind in COMMANDS.items():
        app.command(name)(_callback(name, "command", kind))
    for name, (about, commands) in GROUPS.items():
        inner = typer.Typer(help=about, no_args_is_help=True, suggest_commands=False)
        for command, kind in commands.items():
            inner.command(command)(_callback(name, command, kind))
        app.add_typer(inner, name=name)
    group: Any = typer.main.get_command(app)
    if COMPLETES in os.environ:
        import_module("fedcompress.cli.bash").register()
    for name, kind in COMMANDS.items():
        _restore_help(group.commands[name], kind)
    for name, (_, commands) in GROUPS.items():
        for command, kind in commands.items():
            _restore_help(group.commands[name].commands[command], kind)
    return group


def _restore_help(command: Any, kind: type) -> None:
    """Gives arguments their help, which Typer 0.20 loses to a default of Click 8.5."""
    hints = get_type_hints(kind, include_extras=True)
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            parameter.help = hints[parameter.name].__metadata__[0].help  # type: ignore[attr-defined,unused-ignore]


def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"fedcompress {__version__}")
        raise typer.Exit


def _callback(module: str, function: str, kind: type) -> Any:
    """Returns what Typer calls: a function that takes the fields of a dataclass, with the dataclass's docstring."""

    @wraps(kind, updated=())
    def call(**values: Any) -> None:
        with streams.reserved() if values.get("json") else nullcontext():
            getattr(import_module(f"fedcompress.cli.{module}"), function)(kind(**values))

    hints = get_type_hints(kind, include_extras=True)
    parameters = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name])
        for field in fields(kind)
    ]
    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return call


def _default(field: Field[Any]) -> Any:
    """Returns the default of a dataclass's field, as a signature has it."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return Parameter.empty if field.default is MISSING else field.default

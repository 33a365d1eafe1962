"""`fedcompress doctor`: what is installed, what is found, and how to get what is missing."""

from __future__ import annotations

import os
import platform
import textwrap
from pathlib import Path

from fedcompress import __version__
from fedcompress.cli.arguments import DoctorArguments
from fedcompress.data.loading import unavailable
from fedcompress.engines import ENGINES
from fedcompress.plugins import Plugins
from fedcompress.progress import console
from fedcompress.results.run.provenance import installed
from fedcompress.units import counted

_PACKAGES = {
    "flwr": "pip install fedcompress",
    "tensorflow": "pip install fedcompress",
    "tf-keras": "pip install fedcompress",
    "tensorflow-model-optimization": "pip install fedcompress",
    "numpy": "pip install fedcompress",
    "ray": 'pip install "fedcompress[ray]"',
    "flwr-datasets": 'pip install "fedcompress[hf]"',
    "scikit-learn": 'pip install "fedcompress[digits]"',
    "tensorboard": 'pip install "fedcompress[tensorboard]"',
    "wandb": 'pip install "fedcompress[wandb]"',
    "mlflow-skinny": 'pip install "fedcompress[mlflow]"',
}
_COLUMN = 34
"""Where states begin."""


def command(args: DoctorArguments) -> None:
    """Says what is there, as wide as the terminal."""
    screen = console()
    print(report(args.data_dir, screen.width if screen.is_terminal else None))


def report(data_dir: Path | None = None, width: int | None = None) -> str:
    """Returns the report as text; a data set is ready if it loads without a download.

    Args:
        data_dir: Where data sets are looked for first.
        width: Longer lines are broken between words, and go on under the states if there is room; None leaves them.
    """
    lines = [
        f"fedcompress {__version__}, Python {platform.python_version()}, {counted(os.cpu_count() or 1, 'core')}",
        "",
        "packages",
    ]
    lines += [f"  {name:{_COLUMN - 2}}{installed(name) or f'missing: {how}'}" for name, how in _PACKAGES.items()]
    lines += ["", "engines"]
    lines += [f"  {name:{_COLUMN - 2}}{engine.state}" for name, engine in ENGINES.items()]
    lines += ["", "data sets"]
    lines += [f"  {name:{_COLUMN - 2}}{_found(name, data_dir)}" for name in Plugins().names("datasets")]
    if width is not None:
        indent = _COLUMN if width >= 2 * _COLUMN else 4
        style = textwrap.TextWrapper(width, subsequent_indent=" " * indent, break_on_hyphens=False)
        lines = [style.fill(line) if len(line) > width else line for line in lines]
    return "\n".join(lines)


def _found(name: str, data_dir: Path | None) -> str:
    if argument := Plugins().load("datasets", name).argument_name:
        return f"depends on the {argument}: write {name}:{argument}"
    problem = unavailable(name, data_dir=data_dir)
    return "ready" if problem is None else f"missing: {problem.splitlines()[0]}"

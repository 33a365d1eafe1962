"""`fedcompress doctor`: what is installed, what is found, and how to get what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path

from fedcompress import __version__, environment, keras
from fedcompress.cli.discovery import DoctorArguments
from fedcompress.data.loading import unavailable
from fedcompress.engines import ENGINES
from fedcompress.plugins import Plugins
from fedcompress.progress import console
from fedcompress.results.run.provenance import installed, processor
from fedcompress.units import counted

_PACKAGES: Mapping[str, tuple[str, str]] = {
    "flwr": ("fedcompress", "everything"),
    "tensorflow": ("fedcompress", "everything"),
    "tf-keras": ("fedcompress", "everything"),
    "tensorflow-model-optimization": ("fedcompress", "pruning and quantisation"),
    "numpy": ("fedcompress", "everything"),
    "ray": ("fedcompress[ray]", "--engine ray: runs of a sweep side by side, clusters"),
    "flwr-datasets": ("fedcompress[hf]", "data sets hf:NAME"),
    "scikit-learn": ("fedcompress[digits]", "the data set digits"),
    "pyarrow": ("fedcompress[parquet]", "data sets parquet:FILE"),
    "pillow": ("fedcompress[images]", "images as files: folder:DIR, and image paths in tables"),
    "optuna": ("fedcompress[search]", "[search] in a scenario"),
    "tensorboard": ("fedcompress[tensorboard]", "--track tensorboard"),
    "wandb": ("fedcompress[wandb]", "--track wandb"),
    "mlflow-skinny": ("fedcompress[mlflow]", "--track mlflow"),
}
"""Package -> what installs it, and what it is needed for."""
_CUDA = "nvidia-cudnn-cu12"
"""What TensorFlow needs to use a GPU, beside the driver."""
_COLUMN = 34
"""Where states begin."""
_PATIENCE = 10.0
"""Seconds for the driver to answer."""


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
    lines += [
        f"  {name:{_COLUMN - 2}}{installed(name) or f'missing, for {purpose}: pip install {_quoted(what)}'}"
        for name, (what, purpose) in _PACKAGES.items()
    ]
    lines += ["", "processor", f"  {processor():{_COLUMN - 2}}{onednn()}"]
    lines += ["", "GPUs"]
    lines += [f"  {name:{_COLUMN - 2}}{state}" for name, state in gpus()]
    lines += ["", "engines"]
    lines += [f"  {name:{_COLUMN - 2}}{engine.state}" for name, engine in ENGINES.items()]
    lines += ["", "data sets"]
    lines += [f"  {name:{_COLUMN - 2}}{_found(name, data_dir)}" for name in Plugins().names("datasets")]
    if width is not None:
        indent = _COLUMN if width >= 2 * _COLUMN else 4
        style = textwrap.TextWrapper(width, subsequent_indent=" " * indent, break_on_hyphens=False)
        lines = [style.fill(line) if len(line) > width else line for line in lines]
    return "\n".join(lines)


def onednn() -> str:
    """Returns whether TensorFlow computes by oneDNN on this processor."""
    if environment.ONEDNN not in environment.VARIABLES:
        return "TensorFlow decides whether it computes by oneDNN"
    if keras.by_onednn():
        return "TensorFlow computes by oneDNN"
    value = environment.applied()[environment.ONEDNN]
    return f"{environment.ONEDNN}={value}: without oneDNN convolutions take up to ten times as long"


def gpus() -> list[tuple[str, str]]:
    """Returns each GPU that NVIDIA's driver knows with what TensorFlow can do with it; or that there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [("none found", "models train on processors: no program nvidia-smi")]
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return [("none found", "models train on processors: nvidia-smi does not answer")]
    names = [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []
    if not names:
        return [("none found", f"models train on processors: nvidia-smi ended with {done.returncode}")]
    state = "ready" if installed(_CUDA) else f'not used by TensorFlow: pip install "tensorflow[and-cuda]" ({_CUDA})'
    return [(name, state) for name in names]


def _quoted(requirement: str) -> str:
    return f'"{requirement}"' if "[" in requirement else requirement


def _found(name: str, data_dir: Path | None) -> str:
    if argument := Plugins().load("datasets", name).argument_name:
        return f"depends on the {argument}: write {name}:{argument}"
    problem = unavailable(name, data_dir=data_dir)
    return "ready" if problem is None else f"missing: {problem.splitlines()[0]}"

"""How to go on with a run, sweep or recipe that has ended before its time."""

from __future__ import annotations

from pathlib import Path

from fedcompress.errors import InputError
from fedcompress.results.run.directory import RunDirectory


def advice(path: Path, *, failed: bool = True) -> str:
    """Returns what to do next: to resume, and where plug-ins may be at fault that this works as long as they stay.

    Args:
        path: Directory of the run, sweep or recipe.
        failed: Whether it has failed; one that was interrupted has shown no fault.
    """
    resume = f"fedcompress resume {path}"
    if not failed or not _has_plugins(path):
        return resume
    return f"{resume} (its plug-ins unchanged; once you mend one of them, start a new run)"


def _has_plugins(path: Path) -> bool:
    """Says whether a run, or one of a sweep, uses plug-ins that do not ship."""
    begun = [*path.glob("provenance.json"), *path.glob("*/provenance.json")]
    try:
        return any(RunDirectory(file.parent).read_json(file.name).get("plugins_digest") for file in begun)
    except InputError:
        return False

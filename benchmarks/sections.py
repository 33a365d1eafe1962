"""Pages of results that are measured section by section: what is measured anew gives way, the rest stays."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fedcompress.files import write_text


def divided(page: str) -> dict[str, str]:
    """Returns heading -> text of each section of a page, what is above the first under an empty heading.

    >>> divided("# Page\\n\\n## One\\n\\nText.\\n")
    {'': '# Page\\n\\n', '## One': '\\n\\nText.\\n'}
    """
    lead, *rest = re.split(r"^(## .*)$", page, flags=re.MULTILINE)
    return {"": lead, **dict(zip(rest[::2], rest[1::2], strict=True))}


def counted(runs: int) -> str:
    """Returns a line, which is not seen, that says of how many runs a section is."""
    return f"<!-- runs: {runs} -->"


def runs_in(text: str) -> int:
    """Returns of how many runs a section is, if it says so; else 0."""
    found = re.search(r"<!-- runs: (\d+) -->", text)
    return int(found[1]) if found else 0


def merged(before: str, now: str) -> str:
    """Returns a page with the sections of both; of equal headings, and above the first, what is there now.

    A section of more runs than the one that is there now stays, and that is said.

    >>> merged("# Page\\n\\n## One\\n\\nOld.\\n\\n## Two\\n\\nKept.\\n", "# Page\\n\\n## One\\n\\nNew.\\n")
    '# Page\\n\\n## One\\n\\nNew.\\n\\n## Two\\n\\nKept.\\n'
    """
    old, new = divided(before), divided(now)
    for heading in [heading for heading in new if heading in old and runs_in(old[heading]) > runs_in(new[heading])]:
        print(f"{heading}: stays, of {runs_in(old[heading])} runs; here are {runs_in(new[heading])}", file=sys.stderr)
        del new[heading]
    sections = {**old, **new}
    return "".join(f"{heading}{text.rstrip()}\n\n" for heading, text in sections.items()).rstrip() + "\n"


def write_merged(path: Path, page: str) -> None:
    """Writes a page, keeping the sections of the file that it has not."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(path, merged(before, page))

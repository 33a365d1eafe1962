"""Pages of results that are measured section by section: what is measured anew gives way, the rest stays."""

from __future__ import annotations

import re
from pathlib import Path


def divided(page: str) -> dict[str, str]:
    """Returns heading -> text of each section of a page, what is above the first under an empty heading.

    >>> divided("# Page\\n\\n## One\\n\\nText.\\n")
    {'': '# Page\\n\\n', '## One': '\\n\\nText.\\n'}
    """
    lead, *rest = re.split(r"^(## .*)$", page, flags=re.MULTILINE)
    return {"": lead, **dict(zip(rest[::2], rest[1::2], strict=True))}


def merged(before: str, now: str) -> str:
    """Returns a page with the sections of both; of equal headings, and above the first, what is there now.

    >>> merged("# Page\\n\\n## One\\n\\nOld.\\n\\n## Two\\n\\nKept.\\n", "# Page\\n\\n## One\\n\\nNew.\\n")
    '# Page\\n\\n## One\\n\\nNew.\\n\\n## Two\\n\\nKept.\\n'
    """
    sections = {**divided(before), **divided(now)}
    return "".join(f"{heading}{text.rstrip()}\n\n" for heading, text in sections.items()).rstrip() + "\n"


def write_merged(path: Path, page: str) -> None:
    """Writes a page, keeping the sections of the file that it has not."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(merged(before, page), encoding="utf-8")

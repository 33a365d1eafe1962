"""What plug-ins say of themselves: docstrings of module and class, and the papers that they cite."""

from __future__ import annotations

import ast
import re
from importlib.metadata import entry_points

from fedcompress.plugins.finding import KINDS, Plugins
from fedcompress.plugins.sources import spec_of

_AUTHORS = r"\b(?!(?:In|Of|By|See|Since|From|As) )[A-Z][\w-]+(?:(?:, [A-Z][\w-]+)*,? (?:&|and) [A-Z][\w-]+| et al\.)?"
_WHEN = r",? (?:\(|[A-Z]{3,} )?(?:(?:19|20)\d\d\b|arXiv:\d+\.\d+)"
_CITED = re.compile(rf'{_AUTHORS}{_WHEN}(?:,? "[^"]+")?')


def docstring(plugins: Plugins, folder: str, name: str) -> str:
    """Returns the docstring of a plug-in's module, or else of the last class in it, without importing anything.

    Empty if there is none, or it cannot be found without an import.
    """
    text = _source(plugins, folder, name)
    try:
        module = ast.parse(text or b"")
    except (SyntaxError, ValueError):
        return ""
    classes = [ast.get_docstring(node) for node in module.body if isinstance(node, ast.ClassDef)]
    return ast.get_docstring(module) or next(filter(None, reversed(classes)), "")


def summary(text: str, name: str) -> str:
    """Returns the first paragraph of a docstring as one line, without the name that it begins with.

    >>> summary("iid: equal sizes,\\n  at random.\\n\\nMore.", "iid")
    'Equal sizes, at random.'
    """
    first = " ".join(text.split("\n\n")[0].split()).removeprefix(f"{name}: ")
    return first[:1].upper() + first[1:]


def papers(text: str) -> list[str]:
    """Returns the works that a docstring cites by author and year, or number at arXiv, each once.

    >>> papers('The client of FedAvg (McMahan et al. 2017, "Communication"), as in Li et al., arXiv:2102.02079.')
    ['McMahan et al. 2017, "Communication"', 'Li et al., arXiv:2102.02079']
    """
    return list(dict.fromkeys(cited.replace(" (", " ") for cited in _CITED.findall(" ".join(text.split()))))


def _source(plugins: Plugins, folder: str, name: str) -> bytes | None:
    """Returns the text of a plug-in's module, in the order in which `Plugins` looks for it."""
    stem = name.replace("-", "_")
    for root in plugins.folders:
        for path, text in plugins.modules[root].items():
            if (
                path.rpartition("/")[0] == folder
                and path.removesuffix(".py").rpartition("/")[2].replace("-", "_") == stem
            ):
                return text
    spec = spec_of(f"{KINDS[folder].package}.{stem}")
    if spec is None:
        points = {point.name: point.value for point in entry_points(group=f"fedcompress.{folder}")}
        top = points.get(name, "").partition(":")[0]
        spec = spec_of(top) if top and "." not in top else None  # of a package's module, finding it imports the package
    loader = spec.loader if spec else None
    source = getattr(loader, "get_source", None)
    return source(spec.name).encode() if spec and source else None
